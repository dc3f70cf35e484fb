//! From what an investigator has, a user id, a name or an address, to the user id.

use std::path::Path;

use domain::ledger_of;
use event_log::KafkaConfig;
use event_log::identity::LogIdentity;
use schemas::identifier::{IdentifierEvent, IdentifierKind};
use schemas::{Event, IndexKey, Stream, Timestamp, UserId};

use crate::error::Error;
use crate::reading;

/// None if nobody ever held the name or address. Former holders are told on standard error.
pub(super) async fn find(
    config: &KafkaConfig,
    log: &LogIdentity,
    text: &str,
    index_key_file: Option<&Path>,
) -> Result<Option<UserId>, Error> {
    if let Ok(id) = text.parse() {
        return Ok(Some(id));
    }
    let key = index_key(log, index_key_file.ok_or(Error::NoIndexKey)?)?;
    let kind = if text.contains('@') {
        IdentifierKind::Email
    } else {
        IdentifierKind::Username
    };
    let index = key
        .index(kind, text)
        .map_err(|source| Error::NotAUser {
            text: text.to_owned(),
            source,
        })?
        .to_hex();
    let place = (Stream::Identifiers, ledger_of(&index, log.created.ledgers));
    let ends = reading::ends(config, &[place]).await?;
    let mut holders = Holders::default();
    super::each_event_of(config, log, &ends, &index, &reading::progress(&ends), |row| {
        if let Event::Identifier(event) = &row.event {
            holders.take(event, row.meta.occurred_at);
        }
        Ok(())
    })
    .await?;
    for (user, until) in holders.former() {
        eprintln!("replay: user {user} held it until {until}");
    }
    Ok(holders.last())
}

fn index_key(log: &LogIdentity, path: &Path) -> Result<IndexKey, Error> {
    let contents = std::fs::read(path).map_err(|source| Error::KeyFile {
        path: path.to_owned(),
        source,
    })?;
    let key = IndexKey::parse(&contents).map_err(|source| Error::Key {
        path: path.to_owned(),
        source,
    })?;
    if key.id() != log.created.index_key_id {
        return Err(Error::WrongKey {
            key: "index key",
            log_id: log.created.log_id,
        });
    }
    Ok(key)
}

/// Who held an identifier, from when it was confirmed until it was released. A reservation that
/// came to nothing made nobody its holder, but while it stands it is all there is to go by.
#[derive(Debug, Default)]
struct Holders {
    held: Vec<(UserId, Option<Timestamp>)>,
    reserved: Option<UserId>,
}

impl Holders {
    fn take(&mut self, event: &IdentifierEvent, at: Timestamp) {
        match event {
            IdentifierEvent::Reserved(e) => self.reserved = Some(e.user_id),
            IdentifierEvent::Confirmed(e) => {
                self.reserved = None;
                self.held.push((e.user_id, None));
            }
            IdentifierEvent::Released(e) => {
                self.reserved = None;
                if let Some((_, until)) = self
                    .held
                    .last_mut()
                    .filter(|(user, until)| *user == e.user_id && until.is_none())
                {
                    *until = Some(at);
                }
            }
        }
    }

    /// The holder of now, else whoever reserved it, else the last one who held it.
    fn last(&self) -> Option<UserId> {
        match self.held.last() {
            Some((user, None)) => Some(*user),
            former => self.reserved.or(former.map(|(user, _)| *user)),
        }
    }

    fn former(&self) -> impl Iterator<Item = (UserId, Timestamp)> {
        self.held
            .iter()
            .filter_map(|(user, until)| Some((*user, (*until)?)))
    }
}

#[cfg(test)]
mod tests {
    use schemas::ClaimId;
    use schemas::identifier::{IdentifierConfirmed, IdentifierReleased, IdentifierReserved};

    use super::*;

    const KIND: IdentifierKind = IdentifierKind::Username;

    fn reserved(user_id: UserId) -> IdentifierEvent {
        let (claim_id, expires_at) = (ClaimId::new_v7(), Timestamp::from_micros(9));
        let index_key_id = String::new();
        IdentifierEvent::Reserved(IdentifierReserved {
            kind: KIND,
            user_id,
            claim_id,
            expires_at,
            index_key_id,
        })
    }

    fn confirmed(user_id: UserId) -> IdentifierEvent {
        IdentifierEvent::Confirmed(IdentifierConfirmed {
            kind: KIND,
            user_id,
            claim_id: ClaimId::new_v7(),
            index_key_id: String::new(),
        })
    }

    fn released(user_id: UserId) -> IdentifierEvent {
        IdentifierEvent::Released(IdentifierReleased {
            kind: KIND,
            user_id,
            claim_id: ClaimId::new_v7(),
            index_key_id: String::new(),
        })
    }

    fn holders(events: &[IdentifierEvent]) -> Holders {
        let mut holders = Holders::default();
        for (at, event) in (1..).zip(events) {
            holders.take(event, Timestamp::from_micros(at));
        }
        holders
    }

    #[test]
    fn a_name_that_went_to_another_leads_to_the_holder_of_now() {
        let (a, b) = (UserId::new_v7(), UserId::new_v7());
        let found = holders(&[reserved(a), confirmed(a), released(a), reserved(b), confirmed(b)]);
        assert_eq!(found.last(), Some(b));
        assert_eq!(
            found.former().collect::<Vec<_>>(),
            [(a, Timestamp::from_micros(3))]
        );
    }

    #[test]
    fn a_name_that_nobody_holds_leads_to_its_last_holder() {
        let (a, b) = (UserId::new_v7(), UserId::new_v7());
        let abandoned = holders(&[reserved(a), confirmed(a), released(a), reserved(b), released(b)]);
        assert_eq!(abandoned.last(), Some(a));
        assert_eq!(holders(&[reserved(b)]).last(), Some(b));
        assert_eq!(holders(&[]).last(), None);
    }
}

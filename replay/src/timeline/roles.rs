//! Names of roles. A role id keeps its name for ever, so one map serves every moment of history,
//! deleted roles included.

use std::collections::HashMap;

use event_log::KafkaConfig;
use event_log::identity::LogIdentity;
use schemas::catalog::CatalogEvent;
use schemas::{Event, RoleId, Stream};

use crate::error::Error;

#[derive(Clone, Debug, Default)]
pub struct RoleNames(HashMap<RoleId, String>);

impl RoleNames {
    pub fn note(&mut self, event: Event) {
        if let Event::Catalog(CatalogEvent::RoleDefined(role)) = event {
            self.0.insert(role.role_id, role.name);
        }
    }

    pub fn get(&self, id: RoleId) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }
}

pub(super) async fn read(config: &KafkaConfig, log: &LogIdentity) -> Result<RoleNames, Error> {
    let mut names = RoleNames::default();
    super::each_event(config, log, (Stream::Catalog, 0), |event| names.note(event)).await?;
    Ok(names)
}

//! How often passwords may be tried: judged before any is hashed, in bounded memory.
//!
//! One bucket a network and one an account, known or not, so that neither one guesser nor many fill
//! the queue of hashes. A device that signed in before has a bucket of its own instead of both:
//! guessing by others must not keep its owner out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;
use schemas::{BlindIndex, DeviceId, UserId};
use service_kit::buckets::Buckets;
use service_kit::problem::{Problem, ProblemType};

/// Password attempts let through.
#[derive(Args, Clone, Copy, Debug)]
pub struct AttemptLimits {
    /// Password attempts a minute for one account from devices that have not signed in before, and
    /// for each device that has; one more is answered 429.
    #[arg(long, env = "ROLECALL_ATTEMPTS_PER_ACCOUNT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts_per_account: u32,
    /// Password attempts and registrations a minute from one network: a /24 of IPv4, a /48 of IPv6.
    #[arg(long, env = "ROLECALL_ATTEMPTS_PER_NETWORK", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts_per_network: u32,
    /// Mails and messages to a phone an hour that one account may ask for, and resets for one address.
    #[arg(long, env = "ROLECALL_MESSAGES_PER_ACCOUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub messages_per_account: u32,
}

/// Whose attempts are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// By the name that was tried, so that a name without an account is limited alike.
    Name(BlindIndex),
    /// By the user, whose password is asked for without a name.
    User(UserId),
}

pub struct Attempts {
    accounts: Buckets<Account>,
    devices: Buckets<DeviceId>,
    networks: Buckets<Option<IpAddr>>,
    messages: Buckets<Account>,
}

impl Attempts {
    pub fn new(limits: AttemptLimits) -> Self {
        Self {
            accounts: Buckets::a_minute(limits.attempts_per_account),
            devices: Buckets::a_minute(limits.attempts_per_account),
            networks: Buckets::a_minute(limits.attempts_per_network),
            messages: Buckets::an_hour(limits.messages_per_account),
        }
    }

    /// Lets an attempt through, or says when the next may come.
    pub fn admit(
        &self,
        address: Option<IpAddr>,
        account: Option<Account>,
        known_device: Option<DeviceId>,
    ) -> Result<(), Problem> {
        let admitted = match (known_device, account) {
            (Some(device), _) => self.devices.take(&device),
            (None, account) => self
                .networks
                .take(&address.map(network))
                .and_then(|()| account.map_or(Ok(()), |account| self.accounts.take(&account))),
        };
        admitted.map_err(|wait| {
            metrics::counter!("password_attempts_refused_total").increment(1);
            Problem::new(ProblemType::TooManyAttempts).retry_after(wait)
        })
    }

    /// As [`Self::admit`], for what has a message sent to somebody.
    pub fn admit_message(&self, address: Option<IpAddr>, account: Account) -> Result<(), Problem> {
        let network = self.networks.take(&address.map(network));
        network
            .and_then(|()| self.messages.take(&account))
            .map_err(|wait| {
                metrics::counter!("messages_not_asked_for_total").increment(1);
                Problem::new(ProblemType::TooManyAttempts).retry_after(wait)
            })
    }
}

/// Whom one provider's line or one data centre's customer is likely to hold.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_by_others_do_not_use_up_what_a_known_device_has() {
        let attempts = Attempts::new(AttemptLimits {
            attempts_per_account: 5,
            attempts_per_network: 8,
            messages_per_account: 5,
        });
        let user = Some(Account::User(UserId::new_v7()));
        let from = |text: &str| Some(text.parse().unwrap());
        for _ in 0..5 {
            attempts.admit(from("192.0.2.1"), user, None).unwrap();
        }
        let refused = attempts.admit(from("198.51.100.1"), user, None).unwrap_err();
        assert_eq!(refused.status(), 429);
        let device = Some(DeviceId::new_v7());
        attempts.admit(from("192.0.2.1"), user, device).unwrap();
        // The network has some left for others, and then no more, whatever the account.
        for _ in 0..3 {
            let other = Some(Account::User(UserId::new_v7()));
            attempts.admit(from("192.0.2.77"), other, None).unwrap();
        }
        attempts.admit(from("192.0.2.77"), None, None).unwrap_err();
        attempts.admit(from("192.0.3.77"), None, None).unwrap();
        for _ in 0..4 {
            attempts.admit(None, user, device).unwrap();
        }
        attempts.admit(None, user, device).unwrap_err();
    }
}

//! Telling people what the log owes them: tokens they asked for, and what happened to their account.
//!
//! The log is the outbox. The instances share the users partitions; whoever has one reads it on from
//! where Kafka remembers that it was read to, and remembers more only once it is delivered. So
//! everything is told at least once; a message's id follows from its event, by which a duplicate can be
//! recognised. Tokens are derived again here: no record, queue or table holds one.

mod channels;
mod messages;
mod reading;
mod sms;
mod smtp;
mod window;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use event_log::identity::LogIdentity;
use event_log::{KafkaConfig, Membership, ReaderPositions};
use schemas::{SchemaIds, Stream, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
pub use channels::ChannelError;
use channels::Channels;
use messages::Texts;

/// Name of the group of instances that share the work, under the log's prefix.
const GROUP: &str = "delivery";
/// What is under way gets this long to arrive when the service stops; else it is sent again.
const LAST: Duration = Duration::from_secs(5);

/// Where messages to people go.
// No Debug: the address of the mail server holds a password, and that of the gateway may.
#[derive(Args, Clone)]
pub struct DeliveryConfig {
    /// Mail server: `smtps://user:password@host`, or `smtp://user:password@host:587?tls=required` for STARTTLS; without
    /// TLS only on this machine. Without a mail server this instance delivers nothing.
    #[arg(long, env = "ROLECALL_SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<String>,
    /// Sender of mails, such as `Rolecall <no-reply@example.org>`.
    #[arg(
        long,
        env = "ROLECALL_MAIL_FROM",
        default_value = "Rolecall <no-reply@localhost.localdomain>"
    )]
    pub mail_from: String,
    /// Where links in mails lead: behind it `/verify-email` and `/reset-password`, with the token as fragment, which
    /// browsers send to no server.
    #[arg(long, env = "ROLECALL_LINK_BASE_URL", default_value = "http://localhost")]
    pub link_base_url: String,
    /// What the service is called in messages.
    #[arg(long, env = "ROLECALL_SERVICE_NAME", default_value = "Rolecall")]
    pub service_name: String,
    /// Gateway for messages to phones: gets `{"to", "text", "message_id"}` as JSON by POST. By `https://`, but for one on
    /// this machine.
    #[arg(long, env = "ROLECALL_SMS_WEBHOOK_URL", hide_env_values = true)]
    pub sms_webhook_url: Option<String>,
    /// File with a bearer token for that gateway.
    #[arg(long, env = "ROLECALL_SMS_WEBHOOK_TOKEN_FILE")]
    pub sms_webhook_token_file: Option<std::path::PathBuf>,
    /// Instead of a gateway: messages to phones go by mail to the number's digits at this domain.
    #[arg(long, env = "ROLECALL_SMS_MAIL_DOMAIN", conflicts_with = "sms_webhook_url")]
    pub sms_mail_domain: Option<String>,
    /// Seconds after which nobody is told any more what happened to their account.
    #[arg(long, env = "ROLECALL_NOTICE_MAX_AGE", default_value_t = 24 * 3600)]
    pub notice_max_age: u64,
}

/// What every reader of a partition works with.
struct Outbox {
    app: Arc<App>,
    channels: Channels,
    texts: Texts,
    kafka: KafkaConfig,
    ids: SchemaIds,
    positions: ReaderPositions,
    notice_max_age: Duration,
}

impl Outbox {
    /// Whether it is too late to tell what happened then.
    fn is_stale(&self, at: Timestamp) -> bool {
        Timestamp::now().since(at) > self.notice_max_age
    }
}

/// The work of this instance.
pub struct Delivery {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Delivery {
    /// Nothing where no mail server is configured.
    pub fn start(
        config: &DeliveryConfig,
        app: &Arc<App>,
        kafka: &KafkaConfig,
        identity: &LogIdentity,
    ) -> Result<Option<Self>, ChannelError> {
        let Some(channels) = Channels::new(config)? else {
            tracing::info!("No mail server is configured: this instance delivers no messages");
            return Ok(None);
        };
        let outbox = Arc::new(Outbox {
            app: Arc::clone(app),
            channels,
            texts: Texts::new(config),
            kafka: kafka.clone(),
            ids: identity.schema_ids.clone(),
            positions: ReaderPositions::new(kafka, GROUP, Stream::Users)?,
            notice_max_age: Duration::from_secs(config.notice_max_age),
        });
        let membership = Membership::join(kafka, GROUP, &[kafka.topics().of(Stream::Users)])?;
        let stop = CancellationToken::new();
        let running = tokio::spawn(share_out(outbox, membership, stop.clone()));
        Ok(Some(Self { stop, running }))
    }

    /// What is under way still arrives, if it does soon.
    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST * 2, self.running).await.is_err() {
            tracing::info!("Some messages are still under way; another instance sends them again");
        }
    }
}

/// Keeps a reader on the partitions that are this instance's.
async fn share_out(outbox: Arc<Outbox>, membership: Membership, stop: CancellationToken) {
    let mut share = membership.share();
    while !stop.is_cancelled() {
        let mine: Vec<i32> = {
            let share = share.borrow_and_update();
            share.iter().flatten().map(|(_, partition)| *partition).collect()
        };
        let turn = stop.child_token();
        let reading = outbox.deliver(&mine, &turn);
        tokio::pin!(reading);
        tokio::select! {
            () = &mut reading => {}
            changed = share.changed() => {
                turn.cancel();
                reading.await;
                if changed.is_err() {
                    break;
                }
            }
        }
    }
    membership.leave().await;
}

//! The ways to people: mail by SMTP, and to phones by a gateway or as mail.

use std::net::IpAddr;

use lettre::Address;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use rdkafka::error::KafkaError;
use reqwest::Url;
use service_kit::keys::KeyError;

use super::DeliveryConfig;
use super::messages::{Message, To};
use super::sms::{Gateway, digits};
use super::smtp::Smtp;

/// Why messages cannot be delivered as configured.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("ROLECALL_SMTP_URL: {0}")]
    SmtpUrl(String),
    #[error("ROLECALL_SMTP_URL: without TLS only to this machine: use smtps:// or ?tls=required")]
    NoTls,
    #[error("ROLECALL_MAIL_FROM is no sender: {0}")]
    From(String),
    #[error("ROLECALL_SMS_WEBHOOK_URL: {0}")]
    SmsUrl(String),
    #[error("ROLECALL_SMS_MAIL_DOMAIN is no domain")]
    SmsDomain,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("preparing calls to the gateway")]
    Gateway(#[from] reqwest::Error),
    #[error("the outbox cannot be read")]
    Kafka(#[from] KafkaError),
}

/// A message did not go out. Neither says to whom, as a server's own words may.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// For good: trying again is of no use.
    Refused(String),
    NotNow(String),
}

enum Phones {
    None,
    Gateway(Gateway),
    /// Mails to digits at this domain.
    Domain(String),
}

pub(super) struct Channels {
    smtp: Smtp,
    from: Mailbox,
    phones: Phones,
}

impl Channels {
    /// Nothing without a mail server.
    pub(super) fn new(config: &DeliveryConfig) -> Result<Option<Self>, ChannelError> {
        let Some(url) = &config.smtp_url else {
            return Ok(None);
        };
        let smtp = Smtp::new(url)?;
        let from = config.mail_from.parse::<Mailbox>();
        let phones = match (&config.sms_webhook_url, &config.sms_mail_domain) {
            (Some(url), _) => Phones::Gateway(Gateway::new(url, config.sms_webhook_token_file.as_deref())?),
            (None, Some(domain)) => {
                Address::new("0", domain).map_err(|_| ChannelError::SmsDomain)?;
                Phones::Domain(domain.clone())
            }
            (None, None) => Phones::None,
        };
        Ok(Some(Self {
            smtp,
            from: from.map_err(|error| ChannelError::From(error.to_string()))?,
            phones,
        }))
    }

    /// `id` becomes part of the Message-ID: the same message again has the same one.
    pub(super) async fn send(&self, message: &Message, id: &str) -> Result<(), SendError> {
        match (&message.to, &self.phones) {
            (To::Mail(address), _) => self.mail(address, message, id).await,
            (To::Phone(number), Phones::Gateway(gateway)) => gateway.send(number, &message.text, id).await,
            (To::Phone(number), Phones::Domain(domain)) => {
                let address = format!("{}@{domain}", digits(number));
                self.mail(&address, message, id).await
            }
            (To::Phone(_), Phones::None) => {
                Err(SendError::Refused("no way to phones is configured".to_owned()))
            }
        }
    }

    async fn mail(&self, address: &str, message: &Message, id: &str) -> Result<(), SendError> {
        let to: Address = address
            .parse()
            .map_err(|_| SendError::Refused("mail servers take no such address".to_owned()))?;
        let mail = lettre::Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&message.subject)
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(AutoSubmitted);
        let mail = match &message.html {
            Some(html) => mail.multipart(MultiPart::alternative_plain_html(
                message.text.clone(),
                html.clone(),
            )),
            None => mail.singlepart(SinglePart::plain(message.text.clone())),
        };
        let mail = mail.map_err(|error| SendError::Refused(error.to_string()))?;
        self.smtp.send(&mail).await
    }
}

/// What goes no further needs no TLS.
pub(super) fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// No answer of a machine to a machine's mail (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

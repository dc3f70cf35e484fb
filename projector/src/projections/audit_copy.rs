//! Writing audit rows: by binary COPY, the fastest way in for many, or as arrays where the round
//! trips of COPY would cost more than they save.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use schemas::Timestamp;
use sqlx::PgConnection;
use sqlx::types::ipnetwork::IpNetwork;
use uuid::Uuid;

use super::RowError;
use super::audit::AuditRow;

const COPY_FROM: usize = 256;
const COLUMNS: i16 = 16;
/// Microseconds and days from the Unix epoch to PostgreSQL's, 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const MICROS_A_DAY: i64 = 86_400_000_000;

pub(super) async fn write(tx: &mut PgConnection, rows: &[&AuditRow]) -> Result<(), RowError> {
    if rows.is_empty() {
        Ok(()) // all of months that are not kept any more
    } else if rows.len() < COPY_FROM {
        insert(tx, rows).await
    } else {
        copy(tx, rows).await
    }
}

fn status(row: &&AuditRow) -> &'static str {
    if row.failed { "failure" } else { "success" }
}

async fn insert(tx: &mut PgConnection, rows: &[&AuditRow]) -> Result<(), RowError> {
    let each = || rows.iter();
    sqlx::query(
        "INSERT INTO security_audit_log (id, user_id, session_id, event_type, event_status,
             event_description, ip_address, user_agent, request_id, is_suspicious, occurred_at, partition_date, actor,
             ledger, log_offset, risk_score)
         SELECT n.* FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::inet[],
             $8::text[], $9::uuid[], $10::bool[], $11::timestamptz[], $12::date[], $13::text[], $14::int2[],
             $15::int8[], $16::int4[]) AS n",
    )
    .bind(each().map(|it| it.id).collect::<Vec<_>>())
    .bind(each().map(|it| it.user_id).collect::<Vec<_>>())
    .bind(each().map(|it| it.session_id).collect::<Vec<_>>())
    .bind(each().map(|it| it.event_type).collect::<Vec<_>>())
    .bind(each().map(status).collect::<Vec<_>>())
    .bind(each().map(|it| it.description.as_ref()).collect::<Vec<_>>())
    .bind(each().map(|it| it.network).collect::<Vec<Option<IpNetwork>>>())
    .bind(each().map(|it| it.user_agent.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|it| it.request_id).collect::<Vec<_>>())
    .bind(each().map(|it| it.is_suspicious()).collect::<Vec<_>>())
    .bind(each().map(|it| it.occurred_at.to_utc()).collect::<Vec<DateTime<Utc>>>())
    .bind(each().map(|it| it.date).collect::<Vec<_>>())
    .bind(each().map(|it| it.actor.as_str()).collect::<Vec<_>>())
    .bind(each().map(|it| it.ledger).collect::<Vec<_>>())
    .bind(each().map(|it| it.offset).collect::<Vec<_>>())
    .bind(each().map(|it| it.risk_score).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

async fn copy(tx: &mut PgConnection, rows: &[&AuditRow]) -> Result<(), RowError> {
    let mut out = Rows(Vec::with_capacity(rows.len() * 320));
    out.0.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for row in rows {
        out.row(row);
    }
    out.0.extend_from_slice(&(-1i16).to_be_bytes());
    let mut copy = tx
        .copy_in_raw(
            "COPY security_audit_log (id, user_id, session_id, event_type, event_status, event_description,
                 ip_address, user_agent, request_id, risk_score, is_suspicious, occurred_at, partition_date, actor,
                 ledger, log_offset) FROM STDIN WITH (FORMAT binary)",
        )
        .await?;
    copy.send(out.0).await?;
    copy.finish().await?;
    Ok(())
}

struct Rows(Vec<u8>);

impl Rows {
    fn row(&mut self, row: &AuditRow) {
        self.0.extend_from_slice(&COLUMNS.to_be_bytes());
        self.field(row.id.as_bytes());
        self.optional(row.user_id.as_ref().map(Uuid::as_bytes));
        self.optional(row.session_id.as_ref().map(Uuid::as_bytes));
        self.field(row.event_type.as_bytes());
        self.field(status(&row).as_bytes());
        self.field(row.description.as_bytes());
        self.network(row.network);
        self.optional(row.user_agent.as_ref().map(String::as_bytes));
        self.field(row.request_id.as_bytes());
        self.field(&row.risk_score.to_be_bytes());
        self.field(&[u8::from(row.is_suspicious())]);
        self.time_and_date(row.occurred_at);
        self.field(row.actor.as_bytes());
        self.field(&row.ledger.to_be_bytes());
        self.field(&row.offset.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        // A record of the log is far below 2 GiB, and so are its fields.
        self.0
            .extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn optional(&mut self, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            Some(bytes) => self.field(bytes.as_ref()),
            None => self.0.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }

    fn time_and_date(&mut self, time: Timestamp) {
        let micros = time.as_micros().saturating_sub(EPOCH_MICROS);
        self.field(&micros.to_be_bytes());
        let days = i32::try_from(micros.div_euclid(MICROS_A_DAY)).unwrap_or(i32::MAX);
        self.field(&days.to_be_bytes());
    }

    /// Family (2 or 3), prefix, whether it is a cidr, number of bytes, the bytes.
    fn network(&mut self, network: Option<IpNetwork>) {
        let bytes = network.map(|network| {
            let (family, address) = match network.ip() {
                IpAddr::V4(ip) => (2, ip.octets().to_vec()),
                IpAddr::V6(ip) => (3, ip.octets().to_vec()),
            };
            let length = if family == 2 { 4 } else { 16 };
            [vec![family, network.prefix(), 0, length], address].concat()
        });
        self.optional(bytes);
    }
}

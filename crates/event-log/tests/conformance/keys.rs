//! The keys topic as its readers see it.

use std::sync::Arc;

use event_log::{CommandContext, KafkaConfig, KafkaWriterLog, KeyRing, KeyRingError, NewDataKey};
use schemas::{DataKey, KeyEncryptionKey, LogId, UserId};

use crate::owner::{Owner, register, system};

/// Heartbeats and keys lie in one topic, and only the keys are users'.
pub async fn a_key_ring_finds_keys_among_heartbeats(config: &KafkaConfig) {
    let (log_id, user_id) = (LogId::new_v7(), UserId::new_v7());
    let owner = Owner::claim(&Arc::new(KafkaWriterLog::new(config, log_id).unwrap())).await;
    let key = KeyEncryptionKey::parse(&[7; 32]).unwrap();
    let wrapped = key.wrap(log_id, user_id, &DataKey::generate()).unwrap();
    let context = CommandContext {
        new_data_key: Some(NewDataKey {
            user_id,
            wrapped,
            key_encryption_key_id: key.id(),
        }),
        ..system()
    };
    owner.bus.heartbeat();
    owner
        .user_with(user_id, register(user_id), context)
        .await
        .unwrap();
    owner.bus.heartbeat();
    let ring = KeyRing::open(config, crate::owner::LEDGERS, log_id, key).unwrap();
    ring.get(user_id).await.unwrap();
    assert_eq!(ring.trouble(), None);
    // A key that is not there says that the topic is damaged.
    let unknown = UserId::new_v7();
    assert!(matches!(ring.get(unknown).await, Err(KeyRingError::Missing)));
    assert!(ring.trouble().unwrap().contains(&unknown.to_string()));
}

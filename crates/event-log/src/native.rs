//! The one place that calls librdkafka directly: reading with the offset of a
//! partition's end. The safe wrapper drops that offset, yet only it tells that a reader has passed
//! the markers and aborted records behind the last committed one.
#![expect(unsafe_code, reason = "the safe consumer hides the offset of PARTITION_EOF")]

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka_sys::{
    RDKafkaErrorCode, rd_kafka_consume_queue, rd_kafka_header_get_all, rd_kafka_header_get_last,
    rd_kafka_headers_t, rd_kafka_message_destroy, rd_kafka_message_headers, rd_kafka_message_t,
    rd_kafka_message_timestamp, rd_kafka_queue_destroy, rd_kafka_queue_get_consumer, rd_kafka_queue_t,
    rd_kafka_resp_err_t, rd_kafka_timestamp_type_t, rd_kafka_topic_name,
};

/// What a poll gives, copied out of librdkafka's memory.
#[derive(Debug)]
pub(crate) enum Polled {
    Message(RawMessage),
    /// A partition's end was reached: `offset` is where the next record will be.
    End {
        topic: String,
        partition: i32,
        offset: i64,
    },
    Error {
        topic: String,
        partition: i32,
        code: RDKafkaErrorCode,
    },
}

#[derive(Debug)]
pub(crate) struct RawMessage {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Which headers to copy: all, or one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Headers {
    All,
    Only(&'static CStr),
}

/// The consumer queue of one client.
pub(crate) struct ConsumerQueue {
    queue: *mut rd_kafka_queue_t,
    batch: usize,
}

// SAFETY: librdkafka's queues may be used from any thread; `&mut self` keeps it to one at a time.
unsafe impl Send for ConsumerQueue {}

impl ConsumerQueue {
    /// The queue must be dropped before its consumer: keep both in one struct, the queue first.
    pub(crate) fn of<C: ConsumerContext>(consumer: &BaseConsumer<C>, batch: usize) -> Self {
        // SAFETY: the client lives as long as `consumer`; the queue holds its own reference.
        let queue = unsafe { rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        Self { queue, batch }
    }

    /// Waits up to `timeout` for the first message, then takes what is there.
    ///
    /// One by one: librdkafka's call for batches (2.12.1, `rd_kafka_q_serve_rkmessages`) takes the
    /// end of a partition for a message and moves its position one past it, so that a fetch which
    /// starts again from there, as after a broker's restart, skips the next record. It also waits
    /// until the batch is full.
    pub(crate) fn poll(&mut self, timeout: Duration, headers: Headers) -> Vec<Polled> {
        let mut timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let mut polled = Vec::new();
        while polled.len() < self.batch {
            // SAFETY: gives null or one message, which is ours until destroyed, once, below.
            unsafe {
                let message = rd_kafka_consume_queue(self.queue, timeout);
                if message.is_null() {
                    break;
                }
                polled.push(copy(&*message, headers));
                rd_kafka_message_destroy(message);
            }
            timeout = 0;
        }
        polled
    }
}

impl Drop for ConsumerQueue {
    fn drop(&mut self) {
        // SAFETY: gives back the reference taken in `of`, once.
        unsafe { rd_kafka_queue_destroy(self.queue) }
    }
}

/// SAFETY: `message` must be a live message of librdkafka.
unsafe fn copy(message: &rd_kafka_message_t, headers: Headers) -> Polled {
    let (partition, offset) = (message.partition, message.offset);
    // SAFETY: a topic handle outlives its messages, and its name is a C string.
    let topic = unsafe {
        if message.rkt.is_null() {
            String::new()
        } else {
            CStr::from_ptr(rd_kafka_topic_name(message.rkt))
                .to_string_lossy()
                .into_owned()
        }
    };
    match message.err {
        rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
            let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: key and payload are valid for their lengths while the message lives.
            unsafe {
                Polled::Message(RawMessage {
                    topic,
                    partition,
                    offset,
                    timestamp_ms: rd_kafka_message_timestamp(message, &raw mut kind),
                    key: bytes(message.key, message.key_len),
                    value: bytes(message.payload, message.len),
                    headers: copy_headers(message, headers),
                })
            }
        }
        rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => Polled::End {
            topic,
            partition,
            offset,
        },
        error => Polled::Error {
            topic,
            partition,
            code: error.into(),
        },
    }
}

/// SAFETY: as for [`copy`].
unsafe fn copy_headers(message: &rd_kafka_message_t, which: Headers) -> Vec<(String, Vec<u8>)> {
    let mut all: *mut rd_kafka_headers_t = ptr::null_mut();
    // SAFETY: `all` is written only on success, and then lives as long as the message.
    let found = unsafe { rd_kafka_message_headers(message, &raw mut all) };
    if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Vec::new();
    }
    let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) =
        (ptr::null(), ptr::null(), 0);
    let mut headers = Vec::new();
    match which {
        Headers::Only(wanted) => {
            // SAFETY: out-pointers are valid; the value lives as long as the headers.
            unsafe {
                let found = rd_kafka_header_get_last(all, wanted.as_ptr(), &raw mut value, &raw mut size);
                if found == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    headers.push((wanted.to_string_lossy().into_owned(), bytes(value, size)));
                }
            }
        }
        Headers::All => {
            for index in 0.. {
                // SAFETY: as above; the call fails past the last header.
                unsafe {
                    let found =
                        rd_kafka_header_get_all(all, index, &raw mut name, &raw mut value, &raw mut size);
                    if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                        break;
                    }
                    headers.push((
                        CStr::from_ptr(name).to_string_lossy().into_owned(),
                        bytes(value, size),
                    ));
                }
            }
        }
    }
    headers
}

/// SAFETY: `start` must be null or valid for `length` bytes.
unsafe fn bytes(start: *const c_void, length: usize) -> Vec<u8> {
    if start.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) }.to_vec()
}

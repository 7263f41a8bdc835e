//! Messages that come in any parts.

use std::collections::VecDeque;

use super::*;

/// A body that comes in these parts.
struct Parts(VecDeque<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
    }
}

#[tokio::test]
async fn a_message_is_the_same_in_whatever_parts_it_comes() {
    let bytes = b"\0\0\0\0\x08a check.and what comes after it";
    for part_bytes in 1..=bytes.len() {
        let parts = bytes.chunks(part_bytes).map(Bytes::copy_from_slice);
        let mut body = Parts(parts.collect());
        body.0.insert(0, Bytes::new());
        let received = receive(&HeaderMap::new(), &mut body, 8).await.unwrap();
        assert_eq!(&*received, b"a check.", "{part_bytes}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_known_by_its_prefix() {
    for (max_bytes, is_too_large) in [(7, true), (8, false)] {
        let mut body = Parts(VecDeque::from([Bytes::from_static(b"\0\0\0\0\x08")]));
        let refused = receive(&HeaderMap::new(), &mut body, max_bytes).await;
        let refused = refused.unwrap_err();
        let found = matches!(refused, ReceiveError::TooLarge { bytes: 8, .. });
        assert_eq!(found, is_too_large, "{refused:?}");
    }
}

//! The bounded queue of consensus frames for one peer: when it is full the oldest frame goes, because the newest says
//! most about where consensus is, and the engine sends again what matters.

use std::collections::VecDeque;

use basalt_primitives::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct FrameQueue {
    inner: Mutex<Inner>,
    added: Notify,
    max_frames: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl FrameQueue {
    pub(super) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self { inner: Mutex::default(), added: Notify::new(), max_frames, max_bytes }
    }

    /// Appends a frame and says how many old ones had to go.
    pub(super) fn push(&self, frame: Bytes) -> u64 {
        let mut inner = self.inner.lock();
        inner.bytes += frame.len();
        inner.frames.push_back(frame);
        let mut dropped = 0;
        while inner.frames.len() > 1 && (inner.frames.len() > self.max_frames || inner.bytes > self.max_bytes) {
            let Some(oldest) = inner.frames.pop_front() else { break };
            inner.bytes -= oldest.len();
            dropped += 1;
        }
        drop(inner);
        self.added.notify_one();
        dropped
    }

    /// Takes the oldest frame, if there is one.
    pub(super) fn try_pop(&self) -> Option<Bytes> {
        let mut inner = self.inner.lock();
        let frame = inner.frames.pop_front()?;
        inner.bytes -= frame.len();
        Some(frame)
    }

    /// Waits for a frame. One reader only.
    pub(super) async fn pop(&self) -> Bytes {
        loop {
            if let Some(frame) = self.try_pop() {
                return frame;
            }
            self.added.notified().await;
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.inner.lock().frames.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let queue = FrameQueue::new(3, 1 << 20);
        let dropped: u64 = (0..10u8).map(|i| queue.push(vec![i].into())).sum();
        assert_eq!(dropped, 7);
        assert_eq!(std::iter::from_fn(|| queue.try_pop()).map(|f| f[0]).collect::<Vec<_>>(), [7, 8, 9]);
    }

    #[test]
    fn bytes_are_bounded_too_but_one_frame_always_fits() {
        let queue = FrameQueue::new(100, 10);
        assert_eq!(queue.push(vec![0; 6].into()), 0);
        assert_eq!(queue.push(vec![0; 6].into()), 1);
        assert_eq!(queue.push(vec![0; 60].into()), 1);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.try_pop().map(|f| f.len()), Some(60));
        assert_eq!(queue.push(vec![0; 10].into()), 0);
    }
}

//! Frames on raw substreams: a 32-bit big-endian length, then that many bytes.
//!
//! A declared length is checked against the bound of its protocol before anything is allocated, and the buffer then
//! grows with what has really arrived, so a lie about the length costs the liar bandwidth, not us memory.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Memory taken at once while a frame arrives.
const STEP: usize = 64 << 10;

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {length} bytes, above the bound of {max}")]
    TooLarge { length: usize, max: usize },
    #[error("the frame did not arrive in time")]
    Timeout,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl FrameError {
    /// Whether only a peer that breaks the protocol causes it; broken connections are nobody's fault.
    pub(super) const fn is_offence(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }
}

/// Reads a frame's length, waiting for its first byte as long as `idle` allows (`None`: for ever).
/// `Ok(None)` is the clean end of the stream.
pub(super) async fn read_length<S: AsyncRead + Unpin>(
    stream: &mut S,
    max: usize,
    idle: Option<Duration>,
    rest: Duration,
) -> Result<Option<usize>, FrameError> {
    let mut head = [0; 4];
    let first = stream.read(&mut head[..1]);
    let n = match idle {
        Some(idle) => timeout(idle, first).await.map_err(|_| FrameError::Timeout)??,
        None => first.await?,
    };
    if n == 0 {
        return Ok(None);
    }
    timeout(rest, stream.read_exact(&mut head[1..])).await.map_err(|_| FrameError::Timeout)??;
    let length = u32::from_be_bytes(head) as usize;
    if length > max { Err(FrameError::TooLarge { length, max }) } else { Ok(Some(length)) }
}

/// Reads the body of a frame whose length was accepted.
pub(super) async fn read_body<S: AsyncRead + Unpin>(
    stream: &mut S,
    length: usize,
    deadline: Duration,
) -> Result<Bytes, FrameError> {
    let read = async {
        let mut body = BytesMut::new();
        while body.len() < length {
            let start = body.len();
            let step = (length - start).min(STEP.max(start));
            body.resize(start + step, 0);
            stream.read_exact(&mut body[start..]).await?;
        }
        Ok::<_, io::Error>(body.freeze())
    };
    Ok(timeout(deadline, read).await.map_err(|_| FrameError::Timeout)??)
}

/// Reads one frame; both waits are bounded by `deadline`. An end of stream is an error here.
pub(super) async fn read_frame<S: AsyncRead + Unpin>(
    stream: &mut S,
    max: usize,
    deadline: Duration,
) -> Result<Bytes, FrameError> {
    let eof = || FrameError::Io(io::ErrorKind::UnexpectedEof.into());
    let length = read_length(stream, max, Some(deadline), deadline).await?.ok_or_else(eof)?;
    read_body(stream, length, deadline).await
}

/// Writes one frame without flushing.
pub(super) async fn write_frame<S: AsyncWrite + Unpin>(
    stream: &mut S,
    body: &[u8],
    deadline: Duration,
) -> Result<(), FrameError> {
    let too_large = || FrameError::TooLarge { length: body.len(), max: u32::MAX as usize };
    let length = u32::try_from(body.len()).map_err(|_| too_large())?.to_be_bytes();
    let write = async {
        if body.len() <= STEP {
            // One write, so that a small frame is one multiplexer frame.
            let mut whole = Vec::with_capacity(4 + body.len());
            whole.extend_from_slice(&length);
            whole.extend_from_slice(body);
            stream.write_all(&whole).await
        } else {
            stream.write_all(&length).await?;
            stream.write_all(body).await
        }
    };
    Ok(timeout(deadline, write).await.map_err(|_| FrameError::Timeout)??)
}

/// Flushes within the deadline.
pub(super) async fn flush<S: AsyncWrite + Unpin>(stream: &mut S, deadline: Duration) -> Result<(), FrameError> {
    Ok(timeout(deadline, stream.flush()).await.map_err(|_| FrameError::Timeout)??)
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, TryStreamExt as _, io::Cursor};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    async fn written(bodies: &[&[u8]]) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        for body in bodies {
            write_frame(&mut out, body, SOON).await.expect("writes");
        }
        out.into_inner()
    }

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let large = vec![3; 200_000];
        let mut stream = Cursor::new(written(&[b"one", b"", &large]).await);
        for expected in [&b"one"[..], b"", &large] {
            assert_eq!(read_frame(&mut stream, 200_000, SOON).await.expect("reads"), expected);
        }
        assert!(matches!(read_length(&mut stream, 10, None, SOON).await, Ok(None)));
    }

    #[tokio::test]
    async fn a_frame_above_the_bound_is_refused_by_its_length_alone() {
        let mut stream = Cursor::new(written(&[&[0; 11]]).await);
        let error = read_frame(&mut stream, 10, SOON).await.expect_err("too large");
        assert!(error.is_offence() && matches!(error, FrameError::TooLarge { length: 11, max: 10 }));
        assert_eq!(stream.position(), 4);
    }

    #[tokio::test]
    async fn a_frame_cut_short_is_an_error() {
        let whole = written(&[b"abcdef"]).await;
        for cut in 0..whole.len() {
            let error = read_frame(&mut Cursor::new(&whole[..cut]), 10, SOON).await.expect_err("cut");
            assert!(matches!(error, FrameError::Io(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn a_frame_that_does_not_come_on_is_given_up() {
        let mut stream = futures::stream::iter([Ok::<_, io::Error>(vec![0, 0, 0, 9, 1])])
            .chain(futures::stream::pending())
            .into_async_read();
        let error = read_frame(&mut stream, 10, Duration::from_millis(20)).await.expect_err("slow");
        assert!(matches!(error, FrameError::Timeout));
    }
}

//! Who a trace belongs to: the W3C Trace Context of a request, or the transaction's hash.

use std::time::Duration;

use basalt_primitives::{B256, HashFn};

/// The part of a caller's trace that a request belongs to (<https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The caller's span.
    pub span_id: [u8; 8],
    /// Whether the caller records it.
    pub sampled: bool,
}

/// How a request with transactions came: made where it is received, and only while tracing is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, on the monotonic clock.
    pub at: Duration,
    /// What it belongs to.
    pub parent: Option<SpanContext>,
    /// The method called, once it is known.
    pub method: &'static str,
}

impl Arrival {
    /// Now, in this trace of the caller's.
    #[must_use]
    pub fn now(parent: Option<SpanContext>) -> Self {
        Self { at: crate::clock::mono(), parent, method: "" }
    }

    /// By this method.
    #[must_use]
    pub const fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }
}

impl SpanContext {
    /// Reads a `traceparent` header. What is not one counts as absent, as the standard says.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim_matches([' ', '\t']).split('-');
        let version = hex::<1>(parts.next()?)?[0];
        let (trace_id, span_id) = (hex::<16>(parts.next()?)?, hex::<8>(parts.next()?)?);
        let flags = hex::<1>(parts.next()?)?[0];
        // Later versions may add parts at the end; 255 is none.
        let good = version != 0xff && (version > 0 || parts.next().is_none());
        (good && trace_id != [0; 16] && span_id != [0; 8]).then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

/// Exactly so many bytes, in lower case.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (lower && ::hex::decode_to_slice(text, &mut out).is_ok()).then_some(out)
}

/// The trace of a transaction that came without a caller's: the same on every node.
#[must_use]
pub fn trace_id(tx: &B256) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&tx[..16]);
    id
}

/// Whether a transaction is among the followed ones: the last seven bytes of its trace id against the rate, as OpenTelemetry
/// samples by trace id, so that all nodes follow the same ones.
#[must_use]
pub fn sampled(tx: &B256, rate: f64) -> bool {
    let mut tail = [0; 8];
    tail[1..].copy_from_slice(&tx[9..16]);
    // 2⁵⁶ is exact as a float; a rate of 1 takes all.
    (u64::from_be_bytes(tail) as f64) < rate * (1u64 << 56) as f64
}

/// A span's id: what it is about, where, and which of several. Never zero.
#[must_use]
pub fn span_id(about: &[u8], node: &str, name: &str) -> [u8; 8] {
    let mut text = about.to_vec();
    text.extend_from_slice(&(node.len() as u64).to_be_bytes());
    text.extend_from_slice(node.as_bytes());
    text.extend_from_slice(name.as_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&HashFn::Sha256.hash(&text)[..8]);
    if id == [0; 8] { [1; 8] } else { id }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_context_is_read_as_the_standard_says() {
        let read = SpanContext::parse(HEADER).expect("the standard's own example");
        assert_eq!(::hex::encode(read.trace_id), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((::hex::encode(read.span_id).as_str(), read.sampled), ("b7ad6b7169203331", true));
        assert!(!SpanContext::parse(&HEADER.replace("-01", "-00")).expect("not sampled").sampled);
        assert!(SpanContext::parse(&HEADER.replace("-01", "-03")).expect("more flags").sampled);
        let later = format!("01{}-what-comes", &HEADER[2..]);
        assert_eq!(SpanContext::parse(&later), Some(read), "later versions may say more");
    }

    #[test]
    fn what_is_no_trace_context_counts_as_absent() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let zero_span = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        let wrong = [
            "",
            "00",
            "no-such-thing",
            &HEADER[..54],
            &HEADER.to_uppercase(),
            &HEADER.replacen("00", "ff", 1),
            &format!("{HEADER}-more"),
            &HEADER.replace('-', "_"),
            &HEADER.replace("0af7", "0zf7"),
            &zero_trace,
            &zero_span,
        ];
        for header in wrong {
            assert_eq!(SpanContext::parse(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_passed_over(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "[0-9a-f-]{0,60}") {
            let _ = SpanContext::parse(&String::from_utf8_lossy(&bytes));
            let _ = SpanContext::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(trace_id: [u8; 16], span_id: [u8; 8], flags: u8) {
            let header = format!("00-{}-{}-{flags:02x}", ::hex::encode(trace_id), ::hex::encode(span_id));
            let good = trace_id != [0; 16] && span_id != [0; 8];
            let wanted = good.then_some(SpanContext { trace_id, span_id, sampled: flags % 2 == 1 });
            prop_assert_eq!(SpanContext::parse(&header), wanted);
        }
    }

    #[test]
    fn all_nodes_follow_the_same_part_of_the_transactions() {
        let hashes: Vec<B256> = (0..20_000u32).map(|i| HashFn::Sha256.hash(&i.to_be_bytes())).collect();
        let part = |rate| hashes.iter().filter(|h| sampled(h, rate)).count();
        assert_eq!((part(0.0), part(1.0)), (0, 20_000));
        assert!((1_800..2_200).contains(&part(0.1)), "{}", part(0.1));
        assert!(hashes.iter().all(|h| !sampled(h, 0.1) || sampled(h, 0.2)), "a higher rate follows more, not others");
    }
}

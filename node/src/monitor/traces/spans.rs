//! From what is known of a transaction to OTLP's spans. Pure.
//!
//! The root span, `transaction`, is its whole life at this node; below it are `receive` (until ingress takes it), `verify`
//! (its signature, with others of a batch), `admit` (to the mempool), `wait` (until a proposal with it is here),
//! `consensus` (until that block is final) and `execute` (until its results are on disk; execution ahead of finality is
//! part of `consensus`).

use std::time::Duration;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode},
};

use super::{
    book::{BlockSeen, Ended, Entry, Source, Trace},
    context,
};

/// Who speaks.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Name of the node.
    pub node: String,
    /// Name of the network.
    pub network: String,
    /// Chain id.
    pub chain_id: u64,
    /// Version of this software.
    pub version: &'static str,
}

/// Name of the scope of all spans.
const SCOPE: &str = "basalt.transactions";
/// The trace flags of W3C, as OTLP carries them: sampled.
const SAMPLED: u32 = 1;
/// OTLP: it is known whether the parent is remote, and it is.
const REMOTE_PARENT: u32 = 0x300;

/// A request with the spans of these traces; `wall_minus_mono` turns their times into times since the Unix epoch.
pub fn request(service: &Service, traces: &[Trace], wall_minus_mono: Duration) -> (ExportTraceServiceRequest, usize) {
    let spans: Vec<Span> = traces.iter().flat_map(|t| Maker { service, trace: t, wall_minus_mono }.spans()).collect();
    let count = spans.len();
    let scope = InstrumentationScope { name: SCOPE.into(), version: service.version.into(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    let resource = Resource { attributes: resource(service), ..Default::default() };
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() }];
    (ExportTraceServiceRequest { resource_spans }, count)
}

fn resource(s: &Service) -> Vec<KeyValue> {
    vec![
        text("service.name", "basalt"),
        text("service.namespace", &s.network),
        text("service.instance.id", &s.node),
        text("service.version", s.version),
        text("basalt.chain_id", &s.chain_id.to_string()),
    ]
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn truth(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// Makes the spans of one trace.
struct Maker<'a> {
    service: &'a Service,
    trace: &'a Trace,
    wall_minus_mono: Duration,
}

impl Maker<'_> {
    fn spans(&self) -> Vec<Span> {
        let entry = &self.trace.entry;
        let (came, steps) = (entry.came, &entry.steps);
        let mut out = vec![
            self.root(),
            self.child("receive", came, steps.taken),
            self.child("verify", steps.decoded, steps.verified),
            self.child("admit", steps.turn, steps.admitted),
        ];
        match &self.trace.ended {
            Ended::Executed { block, .. } => {
                // A proposal with it can be here before the transaction itself.
                if block.proposed > steps.admitted {
                    out.push(self.child("wait", steps.admitted, block.proposed));
                }
                let consensus = self.child("consensus", block.proposed, block.decided);
                out.push(Span { attributes: block_attributes(block), ..consensus });
                out.push(self.child("execute", block.decided, block.durable));
            }
            Ended::Waiting(now) => out.push(self.child("wait", steps.admitted, *now)),
            Ended::Refused(_) => {}
        }
        out
    }

    fn root(&self) -> Span {
        let Trace { tx, entry, ended } = self.trace;
        let (end, mut status) = (self.end(), Status::default());
        let mut attributes = vec![text("basalt.source", source(entry)), text("basalt.outcome", ended.name())];
        attributes.extend(tx.map(|tx| text("basalt.tx.hash", &tx.to_string())));
        if !entry.method.is_empty() {
            attributes.push(text("rpc.system", "jsonrpc"));
            attributes.push(text("rpc.method", entry.method));
        }
        match ended {
            Ended::Executed { block, index, success, gas_used } => {
                attributes.extend([
                    number("basalt.block.height", block.height.0),
                    number("basalt.tx.index", (*index).into()),
                ]);
                attributes.extend([truth("basalt.tx.success", *success), number("basalt.tx.gas_used", *gas_used)]);
            }
            Ended::Refused(reason) => status = failed(reason),
            Ended::Waiting(_) => status = failed("it was in no block for long; basalt tx explain says why"),
        }
        let kind = match entry.source {
            Source::Rpc => SpanKind::Server,
            Source::Peer => SpanKind::Consumer,
            Source::Journal => SpanKind::Internal,
        };
        let parent = entry.parent.map(|p| p.span_id.to_vec()).unwrap_or_default();
        let flags = if parent.is_empty() { SAMPLED } else { SAMPLED | REMOTE_PARENT };
        let span = self.span(ROOT, parent, entry.came, end);
        Span { kind: kind as i32, attributes, status: Some(status), flags, ..span }
    }

    fn end(&self) -> Duration {
        match &self.trace.ended {
            Ended::Executed { block, .. } => block.durable,
            Ended::Refused(_) => self.trace.entry.steps.admitted,
            Ended::Waiting(now) => *now,
        }
    }

    fn child(&self, name: &str, start: Duration, end: Duration) -> Span {
        self.span(name, self.id(ROOT).to_vec(), start, end)
    }

    fn span(&self, name: &str, parent_span_id: Vec<u8>, start: Duration, end: Duration) -> Span {
        let nanos = |at: Duration| u64::try_from((at + self.wall_minus_mono).as_nanos()).unwrap_or(u64::MAX);
        Span {
            trace_id: self.trace_id().to_vec(),
            span_id: self.id(name).to_vec(),
            parent_span_id,
            flags: SAMPLED,
            name: name.to_owned(),
            kind: SpanKind::Internal as i32,
            start_time_unix_nano: nanos(start),
            end_time_unix_nano: nanos(end.max(start)),
            ..Default::default()
        }
    }

    fn trace_id(&self) -> [u8; 16] {
        let Trace { tx, entry, .. } = self.trace;
        // Without a transaction there is always a parent: nobody else asked for the trace.
        entry.parent.map(|p| p.trace_id).or_else(|| tx.as_ref().map(context::trace_id)).unwrap_or([1; 16])
    }

    /// Of one transaction at one node each name is there once.
    fn id(&self, name: &str) -> [u8; 8] {
        let Trace { tx, entry, .. } = self.trace;
        let about = match tx {
            Some(tx) => tx.to_vec(),
            None => [self.trace_id().as_slice(), &entry.came.as_nanos().to_be_bytes()].concat(),
        };
        context::span_id(&about, &self.service.node, name)
    }
}

/// Name of the root span.
const ROOT: &str = "transaction";

fn source(entry: &Entry) -> &'static str {
    match entry.source {
        Source::Rpc => "rpc",
        Source::Peer => "peer",
        Source::Journal => "journal",
    }
}

fn block_attributes(b: &BlockSeen) -> Vec<KeyValue> {
    vec![
        number("basalt.block.height", b.height.0),
        number("basalt.block.round", b.round.0.into()),
        text("basalt.block.proposer", &b.proposer.to_string()),
        truth("basalt.block.fetched", b.fetched),
    ]
}

fn failed(why: &str) -> Status {
    Status { message: why.to_owned(), code: StatusCode::Error as i32 }
}

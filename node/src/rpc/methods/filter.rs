//! Logs, polled filters, subscriptions.

use serde_json::Value;

use super::super::{
    RpcError, dispatch,
    filters::Kind,
    logs::{self, FilterArgs, LogRange},
    registry::{Call, Registry},
    types::Given,
};

pub(super) fn add(r: &mut Registry) {
    r.blocking("eth_getLogs", &["filter"], |c: &Call, (args,): (FilterArgs,)| logs::get_logs(&c.app, args));
    r.quick("eth_newFilter", &["filter"], |c: &Call, (args,): (FilterArgs,)| new_log_filter(c, args));
    r.quick("eth_newBlockFilter", &[], |c: &Call, ()| {
        c.app.filters.install(Kind::Blocks { next: c.app.chain.reader().head().next() })
    });
    r.quick("eth_newPendingTransactionFilter", &[], |c: &Call, ()| {
        c.app.filters.install(Kind::Pending(c.app.events.listen_pending()))
    });
    r.quick("eth_uninstallFilter", &["id"], |c: &Call, (id,): (Given,)| Ok(c.app.filters.uninstall(&id.0)));
    r.blocking("eth_getFilterChanges", &["id"], |c: &Call, (id,): (Given,)| c.app.filters.changes(&c.app, &id.0));
    r.blocking("eth_getFilterLogs", &["id"], |c: &Call, (id,): (Given,)| c.app.filters.all_logs(&c.app, &id.0));
    r.quick("eth_subscribe", &["kind", "options"], |c: &Call, (kind, options): (String, Option<Value>)| {
        c.caller.session.as_ref().ok_or_else(dispatch::no_notifications)?.subscribe(&kind, options)
    });
    r.quick("eth_unsubscribe", &["id"], |c: &Call, (id,): (Given,)| {
        Ok(c.caller.session.as_ref().ok_or_else(dispatch::no_notifications)?.unsubscribe(&id.0))
    });
}

fn new_log_filter(c: &Call, args: FilterArgs) -> Result<String, RpcError> {
    let (filter, range) = args.split()?;
    if matches!(range, LogRange::Block(_)) {
        return Err(RpcError::params("a filter that is polled has no blockHash; use eth_getLogs"));
    }
    c.app.filters.install(Kind::Logs { filter, range, next: c.app.chain.reader().head().next(), removed: Vec::new() })
}

//! The table of methods: name → parameters and typed handler. The parameters are named, so that they can also be given by
//! name and an OpenRPC document can be made from the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{App, RpcError, dispatch::Caller};

/// What a handler is given beside its parameters.
#[derive(Clone)]
pub struct Call {
    /// The node.
    pub app: Arc<App>,
    /// Who calls.
    pub caller: Caller,
}

/// A handler's answer, serialised once.
pub type Answer = Result<Vec<u8>, RpcError>;

/// Answers on the thread that calls it.
pub(super) type Handler = Arc<dyn Fn(&Call, Vec<Value>) -> Answer + Send + Sync>;
/// Answers later.
type AsyncHandler = Arc<dyn Fn(Call, Vec<Value>) -> BoxFuture<'static, Answer> + Send + Sync>;
/// Answers several calls later, each in its place.
type TogetherHandler =
    Arc<dyn Fn(Call, Vec<Result<Vec<Value>, RpcError>>) -> BoxFuture<'static, Vec<Answer>> + Send + Sync>;

/// How a method runs.
#[derive(Clone)]
pub(super) enum Run {
    /// Where it was received: it reads memory, or a few keys.
    Quick(Handler),
    /// On a thread for blocking work: it scans or executes.
    Blocking(Handler),
    /// As [`Self::Blocking`], but for long, so only a few run at once.
    Tracing(Handler),
    /// It waits for others.
    Async(AsyncHandler),
    /// It waits for others, and calls of it that stand one after the other in a batch cost less together.
    Together(TogetherHandler),
}

/// One method.
pub struct Method {
    /// Names of its parameters, in order.
    pub params: &'static [&'static str],
    pub(super) run: Run,
}

/// All methods, by name.
#[derive(Default)]
pub struct Registry {
    methods: BTreeMap<&'static str, Method>,
    /// Empty: all.
    namespaces: Vec<String>,
    /// Names of methods that only development networks have.
    elsewhere: BTreeSet<&'static str>,
}

/// Parameters of a handler: a tuple, one element per named parameter. A missing one reads as null, so an `Option` is an
/// optional parameter.
pub trait FromParams: Sized {
    /// How many.
    const COUNT: usize;
    /// Reads them; `values` has exactly [`Self::COUNT`].
    fn from_params(values: Vec<Value>) -> Result<Self, RpcError>;
}

macro_rules! from_params {
    ($count:literal $($index:literal $name:ident),*) => {
        impl<$($name: DeserializeOwned),*> FromParams for ($($name,)*) {
            const COUNT: usize = $count;
            #[allow(unused_variables, unused_mut, clippy::unused_unit, reason = "the empty tuple")]
            fn from_params(values: Vec<Value>) -> Result<Self, RpcError> {
                let mut values = values.into_iter();
                Ok(($(argument::<$name>($index, values.next().unwrap_or(Value::Null))?,)*))
            }
        }
    };
}

from_params!(0);
from_params!(1 0 A);
from_params!(2 0 A, 1 B);
from_params!(3 0 A, 1 B, 2 C);
from_params!(4 0 A, 1 B, 2 C, 3 D);

fn argument<T: DeserializeOwned>(index: usize, value: Value) -> Result<T, RpcError> {
    let missing = value.is_null();
    T::deserialize(value).map_err(|e| {
        RpcError::params(if missing {
            format!("missing value for required argument {index}")
        } else {
            format!("invalid argument {index}: {e}")
        })
    })
}

impl Registry {
    /// An empty table that serves these namespaces; none named: all.
    #[must_use]
    pub fn new(namespaces: &[String]) -> Self {
        Self { namespaces: namespaces.to_vec(), ..Self::default() }
    }

    /// Adds a method that answers at once.
    pub fn quick<P: FromParams, T: Serialize>(
        &mut self,
        name: &'static str,
        params: &'static [&'static str],
        handler: impl Fn(&Call, P) -> Result<T, RpcError> + Send + Sync + 'static,
    ) {
        let run = move |call: &Call, values| answer(&handler(call, P::from_params(values)?)?);
        self.add::<P>(name, params, Run::Quick(Arc::new(run)));
    }

    /// Adds a method that blocks: it scans the ledger or executes code.
    pub fn blocking<P: FromParams, T: Serialize>(
        &mut self,
        name: &'static str,
        params: &'static [&'static str],
        handler: impl Fn(&Call, P) -> Result<T, RpcError> + Send + Sync + 'static,
    ) {
        let run = move |call: &Call, values| answer(&handler(call, P::from_params(values)?)?);
        self.add::<P>(name, params, Run::Blocking(Arc::new(run)));
    }

    /// Adds a method that executes again under a tracer.
    pub fn tracing<P: FromParams, T: Serialize>(
        &mut self,
        name: &'static str,
        params: &'static [&'static str],
        handler: impl Fn(&Call, P) -> Result<T, RpcError> + Send + Sync + 'static,
    ) {
        let run = move |call: &Call, values| answer(&handler(call, P::from_params(values)?)?);
        self.add::<P>(name, params, Run::Tracing(Arc::new(run)));
    }

    /// Adds a method that waits for others. The parameters are read before it begins.
    pub fn waiting<P, T, F>(
        &mut self,
        name: &'static str,
        params: &'static [&'static str],
        handler: impl Fn(Call, P) -> F + Send + Sync + 'static,
    ) where
        P: FromParams,
        T: Serialize,
        F: Future<Output = Result<T, RpcError>> + Send + 'static,
    {
        let run = move |call: Call, values| -> BoxFuture<'static, Answer> {
            match P::from_params(values) {
                Err(e) => Box::pin(std::future::ready(Err(e))),
                Ok(params) => {
                    let work = handler(call, params);
                    Box::pin(async move { answer(&work.await?) })
                }
            }
        };
        self.add::<P>(name, params, Run::Async(Arc::new(run)));
    }

    /// Adds a method that waits for others and takes neighbouring calls of a batch together. The handler gives one answer for
    /// each call, in order; calls whose parameters cannot be read never come to it.
    pub fn together<P, T, F>(
        &mut self,
        name: &'static str,
        params: &'static [&'static str],
        handler: impl Fn(Call, Vec<P>) -> F + Send + Sync + 'static,
    ) where
        P: FromParams,
        T: Serialize,
        F: Future<Output = Vec<Result<T, RpcError>>> + Send + 'static,
    {
        let run = move |call: Call, calls: Vec<Result<Vec<Value>, RpcError>>| -> BoxFuture<'static, Vec<Answer>> {
            let (mut good, mut bad) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
            for values in calls {
                match values.and_then(P::from_params) {
                    Ok(params) => {
                        good.push(params);
                        bad.push(None);
                    }
                    Err(e) => bad.push(Some(e)),
                }
            }
            let work = handler(call, good);
            Box::pin(async move {
                let mut answers = work.await.into_iter();
                let mut next = || answers.next().unwrap_or_else(|| Err(RpcError::internal("the node did not answer")));
                bad.into_iter().map(|e| e.map_or_else(|| answer(&next()?), Err)).collect()
            })
        };
        self.add::<P>(name, params, Run::Together(Arc::new(run)));
    }

    /// Knows another table's methods by name only, as those of development networks.
    pub(super) fn name_elsewhere(&mut self, other: &Self) {
        self.elsewhere = other.methods.keys().copied().collect();
    }

    fn add<P: FromParams>(&mut self, name: &'static str, params: &'static [&'static str], run: Run) {
        assert_eq!(params.len(), P::COUNT, "{name}: as many names as parameters");
        let old = self.methods.insert(name, Method { params, run });
        assert!(old.is_none(), "{name} is added once");
    }

    /// A method by name, or the error that says what to call instead.
    pub fn find(&self, name: &str) -> Result<(&'static str, &Method), RpcError> {
        let Some((&name, method)) = self.methods.get_key_value(name) else { return Err(self.unknown(name)) };
        if self.serves(name) {
            return Ok((name, method));
        }
        let namespace = namespace_of(name);
        Err(RpcError::new(
            super::error::METHOD_NOT_FOUND,
            format!(
                "the method {name} is not available: the namespace `{namespace}` is not served here; rpc_modules lists those that are"
            ),
        ))
    }

    /// Names and methods, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Method)> {
        self.methods.iter().map(|(n, m)| (*n, m))
    }

    /// Those of them that are served here.
    pub fn served(&self) -> impl Iterator<Item = (&'static str, &Method)> {
        self.iter().filter(|(name, _)| self.serves(name))
    }

    fn serves(&self, name: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|n| n == namespace_of(name))
    }

    /// Namespaces served.
    #[must_use]
    pub fn namespaces(&self) -> std::collections::BTreeSet<&'static str> {
        self.served().map(|(name, _)| namespace_of(name)).collect()
    }

    fn unknown(&self, name: &str) -> RpcError {
        let shown: String = name.chars().take(80).filter(|c| !c.is_control()).collect();
        let text = if SIGNING.contains(&name) {
            format!(
                "the method {shown} does not exist/is not available: this node keeps no keys; sign in the wallet and send with eth_sendRawTransaction (a development network signs for its known accounts: `basalt dev`)"
            )
        } else if self.elsewhere.contains(name) {
            format!(
                "the method {shown} does not exist/is not available: it bends the rules of the chain, so only development networks have it; start one with `basalt dev` or make one with `basalt network create --consensus dev`"
            )
        } else if let Some(close) = self.closest(name) {
            format!("the method {shown} does not exist/is not available; did you mean {close}?")
        } else {
            format!("the method {shown} does not exist/is not available; rpc_modules lists the namespaces of this node")
        };
        RpcError::new(super::error::METHOD_NOT_FOUND, text)
    }

    /// The method nearest to a mistyped name.
    fn closest(&self, name: &str) -> Option<&'static str> {
        if name.len() > 64 || !name.is_ascii() {
            return None;
        }
        let near = self.methods.keys().map(|m| (distance(name, m), *m)).min()?;
        (near.0 <= 3.max(name.len() / 5)).then_some(near.1)
    }
}

/// Methods of nodes that keep keys.
const SIGNING: [&str; 6] = [
    "eth_sendTransaction",
    "eth_sign",
    "eth_signTransaction",
    "personal_sign",
    "eth_signTypedData_v4",
    "eth_signTypedData",
];

fn namespace_of(method: &str) -> &str {
    method.split('_').next().unwrap_or(method)
}

fn answer<T: Serialize>(value: &T) -> Answer {
    serde_json::to_vec(value).map_err(RpcError::internal)
}

/// Levenshtein's distance, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.bytes().enumerate() {
            let change = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

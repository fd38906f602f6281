//! The generator's way to a node.

use serde_json::Value;

use super::Method;
use crate::client::Client;

/// One node. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Node {
    rpc: Client,
    method: Method,
}

/// What a node said to one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it.
    Accepted,
    /// It has no room or no time for it now.
    Later(String),
    /// It does not want it.
    Refused(String),
}

impl Node {
    pub fn new(url: &str, method: Method) -> anyhow::Result<Self> {
        Ok(Self { rpc: Client::new(url)?, method })
    }

    /// Its JSON-RPC.
    pub const fn rpc(&self) -> &Client {
        &self.rpc
    }

    /// Hands in a request that was put together beforehand, of `count` transactions; an answer for each.
    pub async fn submit(&self, body: &str, count: usize) -> Vec<Answer> {
        let answers = match self.rpc.post(body.to_owned()).await {
            Ok(value) => self.read(&value),
            Err(e) => vec![Answer::Later(format!("{e:#}")); count],
        };
        let missing = Answer::Later("no answer came to some transactions".into());
        answers.into_iter().chain(std::iter::repeat(missing)).take(count).collect()
    }

    fn read(&self, value: &Value) -> Vec<Answer> {
        let results = match self.method {
            Method::Basalt => value["result"].as_array(),
            Method::Ethereum => value.as_array(),
        };
        match results {
            Some(list) => list.iter().map(answer).collect(),
            None => vec![Answer::Later(error_text(value))],
        }
    }
}

fn error_text(value: &Value) -> String {
    value["error"]["message"].as_str().unwrap_or("an answer without result or error").to_owned()
}

/// A transaction that is known or whose nonce is used was taken at an earlier try, whose answer was lost.
fn answer(one: &Value) -> Answer {
    if one.get("error").is_none() {
        return Answer::Accepted;
    }
    let text = error_text(one);
    let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if has(&["already known", "already imported", "nonce too low", "Nonce too low"]) {
        Answer::Accepted
    } else if has(&["busy", "full", "did not answer", "stopping", "nonce too high", "limit", "again"]) {
        Answer::Later(text)
    } else {
        Answer::Refused(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let basalt = Node::new("http://127.0.0.1:1", Method::Basalt).expect("client");
        let error = |m: &str| json!({ "error": { "code": -32000, "message": m } });
        let value = json!({ "result": [{ "hash": "0x01" }, error("already known: x"), error("the node is busy"), error("intrinsic gas too low")] });
        let answers = basalt.read(&value);
        assert_eq!(answers[..2], [Answer::Accepted, Answer::Accepted]);
        assert!(matches!((&answers[2], &answers[3]), (Answer::Later(_), Answer::Refused(_))));
        let ethereum = Node::new("http://127.0.0.1:1", Method::Ethereum).expect("client");
        assert_eq!(ethereum.read(&json!([{ "id": 0, "result": "0x01" }])), [Answer::Accepted]);
        assert!(matches!(ethereum.read(&error("whole batch refused"))[..], [Answer::Later(_)]));
    }
}

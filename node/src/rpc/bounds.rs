//! Checks the size of a request's JSON before anything is allocated for it.

/// What is too much.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TooMuch {
    /// Nested too deep.
    #[error("request is nested deeper than the limit of {0}")]
    Depth(usize),
    /// Too many values.
    #[error("request has more JSON values than the limit of {0}; send it in smaller parts")]
    Values(usize),
}

/// One pass over the bytes, skipping strings: how deep and how many. Malformed JSON is the parser's business.
pub fn check(body: &[u8], max_depth: usize, max_values: usize) -> Result<(), TooMuch> {
    let (mut depth, mut values) = (0usize, 1usize);
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                depth += 1;
                values += 1;
                if depth > max_depth {
                    return Err(TooMuch::Depth(max_depth));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => values += 1,
            _ => {}
        }
        if values > max_values {
            return Err(TooMuch::Values(max_values));
        }
    }
    Ok(())
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return,
            _ => {}
        }
    }
}

//! A short run of every decoder under mutated bytes, and every input that once broke one.
#![allow(clippy::unwrap_used, reason = "tests")]

use basalt_fuzz::{Broken, crashes, keep, run, seeds, targets, targets::Target, try_one};

const EXECUTIONS: u64 = 20_000;

#[test]
fn no_decoder_breaks() {
    for target in targets::ALL {
        let seeds = seeds(target).unwrap();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        let ran = run(target, &seeds, 1, EXECUTIONS)
            .unwrap_or_else(|b| panic!("{}: {} {:02x?}", target.name, b.what, b.input));
        assert_eq!(ran.executions, EXECUTIONS);
        // The rest have no seeds of their own kind that a mutation leaves valid.
        if !["trie-node", "set-override"].contains(&target.name) {
            assert!(ran.accepted > 0, "{}: nothing was accepted", target.name);
        }
    }
}

#[test]
fn a_decoder_that_breaks_is_found_and_its_input_kept() {
    let panics = |input: &[u8]| {
        assert!(input.get(1) != Some(&0xff), "a length nobody checked");
        Ok(true)
    };
    let target = Target { name: "bad", golden: &[], texts: &["seed"], decode: panics };
    let broken = run(&target, &seeds(&target).unwrap(), 1, EXECUTIONS).unwrap_err();
    assert_eq!((broken.input[1], broken.what.as_str()), (0xff, "panic: a length nobody checked"));
    assert_eq!(try_one(&target, &broken.input), Err(broken.clone()));
    let folder = std::env::temp_dir();
    let path = keep(target.name, &broken, &folder).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().len(), 2 * broken.input.len());
    std::fs::remove_file(path).unwrap();

    let lies = |input: &[u8]| if input.len() == 3 { Err("encodes as something else".to_owned()) } else { Ok(false) };
    let target = Target { name: "lies", golden: &[], texts: &["seed"], decode: lies };
    let Broken { input, what } = run(&target, &seeds(&target).unwrap(), 1, EXECUTIONS).unwrap_err();
    assert_eq!((input.len(), what.as_str()), (3, "encodes as something else"));
    assert_eq!(crashes("no such target").unwrap(), Vec::<Vec<u8>>::new());
}

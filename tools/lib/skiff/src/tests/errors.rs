// SPDX-License-Identifier: GPL-2.0
//! What errors say.

use std::io;

use nix::errno::Errno;

use super::context;
use crate::Attempt;
use crate::ConnectOptions;
use crate::Error;
use crate::Node;

#[test]
fn an_error_names_attempt_cause_and_mend() {
    let (context, fake) = context();
    fake.fail(Errno::EHOSTDOWN);
    let error = context
        .connect(1, 7, &ConnectOptions::new())
        .expect_err("down");
    assert_eq!(
        error.to_string(),
        "cannot connect to segment 7 of node 1: \
         the link to that node is up, but it has not answered (EHOSTDOWN)"
    );
    assert_eq!(
        error.mend(),
        Some("look whether skiff is loaded there: skiff nodes")
    );
    let node = Node::Number(1);
    assert_eq!(error.attempt(), Attempt::Connect { node, id: 7 });
}

#[test]
fn every_errno_of_the_header_has_words_of_its_own() {
    let header = include_str!("../../../../../include/uapi/linux/skiff.h");
    let names: Vec<_> = header
        .lines()
        .filter_map(|line| line.strip_prefix(" * - E"))
        .filter_map(|line| line.split_once(": "))
        .map(|(name, _)| format!("E{name}"))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let errno = (1..134)
            .map(Errno::from_raw)
            .find(|errno| format!("{errno:?}") == name)
            .unwrap_or_else(|| panic!("no errno {name}"));
        let error = Error::new(Attempt::Remove, errno as i32);
        assert_eq!(error.name(), name);
        assert_eq!(error.errno(), errno as i32);
        assert_ne!(error.cause(), errno.desc(), "{name}");
    }
}

#[test]
fn one_errno_means_different_things_to_different_attempts() {
    let open = Error::new(Attempt::Open, libc::EACCES);
    assert_eq!(open.cause(), "this user may not use it");
    assert!(open.mend().is_some_and(|mend| mend.contains("usermod")));
    let map = Attempt::Map {
        offset: 0,
        bytes: 1,
    };
    assert_ne!(
        Error::new(map, libc::ENOSPC).cause(),
        Error::new(Attempt::Remove, libc::ENOSPC).cause()
    );
    let unknown = Error::new(Attempt::Info, libc::EXDEV);
    assert_eq!(unknown.cause(), "Cross-device link");
    assert_eq!(unknown.mend(), None);
}

#[test]
fn an_error_becomes_one_of_io() {
    let error = io::Error::from(Error::new(Attempt::Open, libc::ENOENT));
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("/dev/skiff"));
}

// SPDX-License-Identifier: GPL-2.0
//! `skiff.h` compiles everywhere, agrees with what the library exports, and works on memory.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// What the header, the version script and the sources say.
const HEADER: &str = include_str!("../include/skiff.h");
const VERSIONS: &str = include_str!("../libskiff.map");
const SOURCE: &str = include_str!("../src/lib.rs");

/// The folder of this crate.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A compiler with all warnings on, as errors.
fn compiler(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .args(["-Wall", "-Wextra", "-pedantic", "-Werror", "-O2"])
        .arg("-I")
        .arg(here().join("include"))
        .arg("-I")
        .arg(here().join("../../../include/uapi"));
    command
}

/// Runs a command that must be good.
fn run(command: &mut Command) {
    let output = command.output().expect("the command starts");
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Where cargo puts libraries, for this test program lies in a folder below.
fn libraries() -> PathBuf {
    let program = std::env::current_exe().expect("a path");
    let folder = program.parent().and_then(Path::parent).expect("two levels");
    folder.to_owned()
}

#[test]
fn the_header_compiles_as_c_and_cpp() {
    let folder = tempfile::tempdir().expect("a folder");
    for (compiler_name, standard, file) in [
        ("gcc", "-std=c11", "a.c"),
        ("gcc", "-std=c17", "b.c"),
        ("clang", "-std=c11", "c.c"),
        ("clang++", "-std=c++11", "d.cpp"),
        ("clang++", "-std=c++20", "e.cpp"),
    ] {
        let source = folder.path().join(file);
        std::fs::write(
            &source,
            "#include <skiff.h>\n#include <skiff.h>\nint main(void) { return 0; }\n",
        )
        .expect("written");
        run(compiler(compiler_name)
            .args([standard, "-fsyntax-only"])
            .arg(&source));
    }
}

#[test]
fn header_version_script_and_sources_have_the_same_functions() {
    let declared: BTreeSet<_> = HEADER
        .split(';')
        .filter(|statement| !statement.contains('{'))
        .filter_map(|statement| {
            let line = statement.trim().lines().rev();
            let text: String = line.take_while(|line| !line.starts_with(" *")).collect();
            let name = text.split_once('(')?.0.rsplit([' ', '*']).next()?;
            name.strip_prefix("skiff_").map(str::to_owned)
        })
        .collect();
    let exported: BTreeSet<_> = VERSIONS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("skiff_")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    let defined: BTreeSet<_> = SOURCE
        .lines()
        .filter_map(|line| line.split_once("extern \"C\" fn skiff_"))
        .filter_map(|(_, rest)| rest.split_once('('))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(exported.len() >= 9, "{exported:?}");
    assert_eq!(exported, defined);
    assert!(
        exported.is_subset(&declared),
        "not in skiff.h: {:?}",
        exported.difference(&declared)
    );
}

#[test]
fn every_function_has_a_man_page() {
    let folder = here().join("man");
    let mut pages = String::new();
    for entry in std::fs::read_dir(folder).expect("man pages") {
        pages += &std::fs::read_to_string(entry.expect("an entry").path()).expect("a page");
    }
    let inline = HEADER.split("static inline ").skip(1);
    let inline = inline.filter_map(|text| text.split_once('('));
    let inline = inline.filter_map(|(text, _)| text.rsplit(' ').next());
    let exported = VERSIONS
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';'))
        .filter(|name| name.starts_with("skiff_"));
    for name in inline.chain(exported) {
        // The words are made by a macro: skiff_load##bits.
        let name = name.split('#').next().unwrap_or(name);
        assert!(pages.contains(&format!(".Nm {name}")), "{name}");
    }
}

#[test]
fn the_data_path_works_on_memory() {
    let archive = libraries().join("libskiff.a");
    assert!(
        archive.exists(),
        "{} is not built; scripts/build-tools makes it",
        archive.display()
    );
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("memory");
    run(compiler("gcc")
        .args(["-std=c11", "-o"])
        .arg(&program)
        .arg(here().join("tests/memory.c"))
        .arg(&archive)
        .args(["-lgcc_s", "-lpthread", "-ldl", "-lm"]));
    run(&mut Command::new(&program));
}

#[test]
fn the_shared_library_exports_versions_only() {
    let library = libraries().join("libskiff.so.0");
    assert!(
        library.exists(),
        "{} is not built; scripts/build-tools makes it",
        library.display()
    );
    let output = Command::new("nm")
        .args(["--dynamic", "--defined-only", "--with-symbol-versions"])
        .arg(&library)
        .output()
        .expect("nm starts");
    let names = String::from_utf8(output.stdout).expect("UTF-8");
    let names: Vec<_> = names
        .lines()
        .filter_map(|line| line.rsplit(' ').next())
        .filter(|name| *name != "SKIFF_0.1")
        .collect();
    assert!(names.contains(&"skiff_open@@SKIFF_0.1"), "{names:?}");
    for name in names {
        assert!(
            name.starts_with("skiff_") && name.ends_with("@@SKIFF_0.1"),
            "{name}"
        );
    }
}

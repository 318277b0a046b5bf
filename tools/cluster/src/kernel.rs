// SPDX-License-Identifier: GPL-2.0
//! The files of one kernel: image, command line, modules and what these depend on.
//!
//! Read once into plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};

use crate::{places, Error, Kernel};

/// Everything about a kernel that starting a node takes.
#[derive(Debug, Clone)]
pub(crate) struct KernelFiles {
    pub(crate) image: PathBuf,
    /// What it needs on its command line.
    pub(crate) cmdline: String,
    pub(crate) modules: Modules,
}

/// The modules that nodes of a kernel have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Modules {
    /// File by name; names have underscores.
    pub(crate) files: BTreeMap<String, PathBuf>,
    /// Direct dependencies by name.
    needs: BTreeMap<String, Vec<String>>,
    /// Names that are part of the kernel.
    builtin: BTreeSet<String>,
}

/// The kernel's name of a module.
pub(crate) fn canonical(name: &str) -> String {
    name.strip_suffix(".ko").unwrap_or(name).replace('-', "_")
}

impl KernelFiles {
    /// The files of a kernel in the cache folder.
    ///
    /// # Errors
    /// [`Error::Missing`] when the kernel has not been made, [`Error::Io`] or [`Error::Config`] for damaged files.
    pub(crate) fn find(kernel: Kernel) -> Result<Self, Error> {
        let cache = places::cache()?;
        let folder = cache.join("kernels").join(kernel.name());
        let hint = format!("scripts/setup kernel {kernel}");
        let image = places::existing(
            &format!("the kernel {kernel}"),
            folder.join("vmlinux"),
            &hint,
        )?;
        let mut modules = Modules::default();
        modules.read_order(&read(&folder.join("modules.order"))?);
        modules.read_builtin(&read(&folder.join("modules.builtin"))?);
        modules.add_folder(&folder.join("modules"))?;
        // Our own modules, a folder for each M= directory that was built for this kernel.
        if let Ok(folders) = fs::read_dir(places::modules(&cache).join(kernel.name())) {
            for folder in folders.flatten().map(|entry| entry.path()) {
                let hidden = folder
                    .file_name()
                    .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
                if folder.is_dir() && !hidden {
                    modules.add_folder(&folder)?;
                }
            }
        }
        Ok(KernelFiles {
            image,
            cmdline: read(&folder.join("cmdline"))?.trim().to_owned(),
            modules,
        })
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Io {
        what: format!("read {}", path.display()),
        source,
    })
}

impl Modules {
    /// Takes lines of "NAME: DEPENDENCY DEPENDENCY".
    fn read_order(&mut self, order: &str) {
        for (name, needs) in order.lines().filter_map(|line| line.split_once(':')) {
            self.needs.insert(
                canonical(name.trim()),
                needs.split_whitespace().map(canonical).collect(),
            );
        }
    }

    /// Takes lines of "NAME".
    fn read_builtin(&mut self, builtin: &str) {
        self.builtin
            .extend(builtin.split_whitespace().map(canonical));
    }

    /// Takes all modules of a folder; those whose dependencies are not known yet are asked.
    fn add_folder(&mut self, folder: &Path) -> Result<(), Error> {
        let failed = |source| Error::Io {
            what: format!("read {}", folder.display()),
            source,
        };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_suffix(".ko"))
            else {
                continue;
            };
            let name = canonical(name);
            if !self.needs.contains_key(&name) {
                self.needs.insert(name.clone(), dependencies(&path)?);
            }
            self.files.insert(name, path);
        }
        Ok(())
    }

    /// The modules to load for `name`, in order, itself last; nothing if it is part of the kernel.
    ///
    /// # Errors
    /// [`Error::Missing`] if it or a dependency exists nowhere.
    pub(crate) fn plan(&self, name: &str) -> Result<Vec<String>, Error> {
        let mut plan = Vec::new();
        self.visit(&canonical(name), &mut BTreeSet::new(), &mut plan)?;
        Ok(plan)
    }

    fn visit(
        &self,
        name: &str,
        seen: &mut BTreeSet<String>,
        plan: &mut Vec<String>,
    ) -> Result<(), Error> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        if !self.files.contains_key(name) {
            return Err(Error::Missing {
                what: format!("the module {name}"),
                path: format!("{name}.ko"),
                hint: "neither among the node's modules nor part of its kernel".to_owned(),
            });
        }
        for needed in self.needs.get(name).into_iter().flatten() {
            self.visit(needed, seen, plan)?;
        }
        plan.push(name.to_owned());
        Ok(())
    }
}

/// The direct dependencies that a module file names in its `.modinfo`.
fn dependencies(path: &Path) -> Result<Vec<String>, Error> {
    let what = || format!("module {}", path.display());
    let bytes = fs::read(path).map_err(|source| Error::Io {
        what: what(),
        source,
    })?;
    let file = object::File::parse(&*bytes)
        .map_err(|error| Error::Config(format!("{}: {error}", what())))?;
    let info = file
        .section_by_name(".modinfo")
        .and_then(|section| section.data().ok())
        .unwrap_or_default();
    Ok(parse_dependencies(info))
}

fn parse_dependencies(info: &[u8]) -> Vec<String> {
    let mut entries = info.split(|byte| *byte == 0);
    let list = entries
        .find_map(|entry| entry.strip_prefix(b"depends="))
        .unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',')
        .filter(|name| !name.is_empty())
        .map(canonical)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(order: &str, files: &[&str]) -> Modules {
        let mut modules = Modules::default();
        modules.read_order(order);
        modules.files = files
            .iter()
            .map(|name| ((*name).to_owned(), PathBuf::new()))
            .collect();
        modules
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let modules = modules("a:\nb: a\nc: a b\n", &["a", "b", "c"]);
        assert_eq!(modules.plan("c").unwrap(), ["a", "b", "c"]);
        assert_eq!(modules.plan("a").unwrap(), ["a"]);
    }

    #[test]
    fn names_may_be_written_either_way() {
        let modules = modules("ntb_hw-idt: ntb\nntb:\n", &["ntb_hw_idt", "ntb"]);
        assert_eq!(modules.plan("ntb-hw-idt").unwrap(), ["ntb", "ntb_hw_idt"]);
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(
            modules("a: b\nb: a\n", &["a", "b"]).plan("a").unwrap(),
            ["b", "a"]
        );
    }

    #[test]
    fn built_in_ones_are_left_out_and_missing_ones_told() {
        let mut modules = modules("nvme: nvme_core\n", &["nvme"]);
        assert!(modules
            .plan("nvme")
            .unwrap_err()
            .to_string()
            .contains("nvme_core"));
        modules.read_builtin("nvme-core\n");
        assert_eq!(modules.plan("nvme").unwrap(), ["nvme"]);
        assert_eq!(modules.plan("nvme_core").unwrap(), [""; 0]);
    }

    #[test]
    fn modinfo_is_read() {
        assert_eq!(
            parse_dependencies(b"license=GPL\0depends=ntb,nvme-core\0name=x\0"),
            ["ntb", "nvme_core"]
        );
        assert_eq!(parse_dependencies(b"depends=\0"), [""; 0]);
        assert_eq!(parse_dependencies(b""), [""; 0]);
    }
}

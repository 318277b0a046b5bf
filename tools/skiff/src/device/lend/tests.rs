// SPDX-License-Identifier: GPL-2.0
//! Lending on a tree of files that behaves as the kernel's does, and breaks wherever it is told to.

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::path::Path;

use skiff::Attempt;
use skiff::Containment;

use super::*;
use crate::device::sysfs;

const ADDRESS: &str = "0000:03:00.0";
const FDID: u32 = 0x4_0000;

/// What a function's folder says that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    driver: Option<String>,
    driver_override: Option<String>,
    device: DeviceState,
}

/// A node with one function, which is in the pool.
#[derive(Debug)]
struct Machine {
    state: RefCell<State>,
    stub: bool,
    /// Steps that are done before one fails, then this many fail.
    good: Cell<usize>,
    bad: Cell<usize>,
    /// Whether the driver of skiff refuses the function.
    refuses: bool,
    steps: Cell<usize>,
}

impl Machine {
    fn new(driver: Option<&str>) -> Self {
        Self {
            state: RefCell::new(State {
                driver: driver.map(str::to_owned),
                driver_override: None,
                device: DeviceState::Unavailable,
            }),
            stub: true,
            good: Cell::new(usize::MAX),
            bad: Cell::new(0),
            refuses: false,
            steps: Cell::new(0),
        }
    }

    fn failing(self, good: usize, bad: usize) -> Self {
        self.good.set(good);
        self.bad.set(bad);
        self
    }

    fn state(&self) -> State {
        self.state.borrow().clone()
    }

    fn step(&self) -> io::Result<()> {
        self.steps.set(self.steps.get() + 1);
        match (self.good.get(), self.bad.get()) {
            (0, 0) => Ok(()),
            (0, bad) => {
                self.bad.set(bad - 1);
                Err(io::ErrorKind::PermissionDenied.into())
            }
            (good, _) => {
                self.good.set(good - 1);
                Ok(())
            }
        }
    }

    fn available(&self) -> Result<(), Error> {
        available(self, self, target(), Protection::Required, &|_, _| Ok(()))
    }

    fn unavailable(&self) -> Result<(), Error> {
        unavailable(self, self, target(), Withdrawal::IfIdle)
    }
}

fn target() -> Target {
    Target::Function(ADDRESS.parse().expect("an address"))
}

impl Files for Machine {
    fn exists(&self, path: &Path) -> bool {
        match path.to_str().expect("UTF-8") {
            "drivers/skiff_lend" => self.stub,
            path => path.trim_end_matches('/') == format!("devices/{ADDRESS}"),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        assert!(path.ends_with("driver_override"), "{}", path.display());
        let text = self.state().driver_override.unwrap_or("(null)".into());
        Ok(format!("{text}\n").into_bytes())
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        self.step()?;
        let mut state = self.state.borrow_mut();
        match path.to_str().expect("UTF-8") {
            "drivers_probe" => {
                assert_eq!(text, ADDRESS);
                let wanted = state.driver_override.clone().unwrap_or("nvme".into());
                let refused = self.refuses && wanted == sysfs::STUB;
                if state.driver.is_none() && !refused {
                    state.driver = Some(wanted);
                }
            }
            path if path.ends_with("/driver_override") => {
                state.driver_override =
                    Some(text.trim().to_owned()).filter(|text| !text.is_empty());
            }
            path if path.ends_with("/driver/unbind") => {
                assert_eq!(text, ADDRESS);
                assert!(state.driver.is_some(), "there is no driver to unbind");
                state.driver = None;
            }
            path if path.ends_with("/bind") => {
                let driver = path.split('/').nth(1).expect("drivers/NAME/bind");
                let allowed = state.driver_override.as_deref();
                assert!(allowed.is_none_or(|allowed| allowed == driver), "{path}");
                assert_eq!((text, &state.driver), (ADDRESS, &None));
                state.driver = Some(driver.to_owned());
            }
            path => panic!("{path}"),
        }
        Ok(())
    }

    fn link(&self, path: &Path) -> io::Result<String> {
        assert!(path.ends_with("driver"), "{}", path.display());
        self.state().driver.ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        panic!("{}", path.display())
    }
}

impl Pool for Machine {
    fn find(&self, device: Target) -> Result<DeviceInfo, Error> {
        assert_eq!(device, target());
        Ok(DeviceInfo {
            fdid: FDID.into(),
            node: 0,
            state: self.state().device,
            containment: Containment::Contained,
            function: ADDRESS.parse().expect("an address"),
            class: 0,
            revision: 0,
            vendor: 0,
            device: 0,
            subvendor: 0,
            subdevice: 0,
            serial: None,
            bars: [0; 6],
            vectors: 0,
            borrowers: 0,
        })
    }

    fn available(&self, fdid: Fdid, _: Protection) -> Result<(), Error> {
        let refused = skiff::Error::new(Attempt::LendAvailable { fdid }, libc::EOPNOTSUPP);
        self.step().map_err(|_| refused)?;
        let mut state = self.state.borrow_mut();
        assert_eq!(state.driver.as_deref(), Some(sysfs::STUB));
        state.device = DeviceState::Available;
        Ok(())
    }

    fn unavailable(&self, fdid: Fdid, _: Withdrawal) -> Result<(), Error> {
        let refused = skiff::Error::new(Attempt::LendUnavailable { fdid }, libc::EBUSY);
        self.step().map_err(|_| refused)?;
        self.state.borrow_mut().device = DeviceState::Unavailable;
        Ok(())
    }

    fn remove(&self, _: Fdid, _: Withdrawal) -> Result<(), Error> {
        assert_eq!(self.state().device, DeviceState::Unavailable);
        self.step().expect("it does not fail");
        Ok(())
    }
}

/// A machine whose function is lent.
fn lent() -> State {
    State {
        driver: Some(sysfs::STUB.into()),
        driver_override: Some(sysfs::STUB.into()),
        device: DeviceState::Available,
    }
}

#[test]
fn the_driver_goes_and_comes_back() {
    for driver in [Some("nvme"), None] {
        let machine = Machine::new(driver);
        machine.available().expect("available");
        assert_eq!(machine.state(), lent());
        machine.unavailable().expect("unavailable");
        // A function without driver gets the one that is for it.
        assert_eq!(machine.state(), Machine::new(Some("nvme")).state());
    }
}

#[test]
fn nothing_is_left_half_done_whichever_step_fails() {
    for driver in [Some("nvme"), None] {
        let whole = Machine::new(driver);
        whole.available().expect("available");
        for good in 0..whole.steps.get() {
            let machine = Machine::new(driver).failing(good, 1);
            let before = machine.state();
            let error = machine.available().expect_err("a step fails");
            assert!(!matches!(error, Error::HalfDone { .. }), "{error}");
            assert_eq!(machine.state(), before, "step {good} from {driver:?}");
        }
    }
}

#[test]
fn what_cannot_be_undone_either_is_said_and_can_be_done_again() {
    let whole = Machine::new(Some("nvme"));
    whole.available().expect("available");
    for good in 0..whole.steps.get() {
        let machine = Machine::new(Some("nvme")).failing(good, 2);
        let error = machine.available().expect_err("steps fail");
        assert!(matches!(error, Error::HalfDone { .. }), "{error}");
        assert!(error.mend().is_some());
        machine.available().expect("the second time");
        assert_eq!(machine.state(), lent());
    }
}

#[test]
fn a_way_back_that_is_cut_off_is_completed_by_the_next_call() {
    let machine = Machine::new(Some("nvme"));
    machine.available().expect("available");
    machine.steps.set(0);
    machine.unavailable().expect("unavailable");
    for good in 0..machine.steps.get() {
        let machine = Machine::new(Some("nvme"));
        machine.available().expect("available");
        let machine = machine.failing(good, 1);
        machine.unavailable().expect_err("a step fails");
        if good == 0 {
            assert_eq!(machine.state(), lent(), "a refusal changes nothing");
        }
        machine.unavailable().expect("the second time");
        assert_eq!(
            machine.state(),
            Machine::new(Some("nvme")).state(),
            "step {good}"
        );
    }
}

#[test]
fn a_function_that_the_stub_refuses_gets_its_driver_back() {
    let machine = Machine {
        refuses: true,
        ..Machine::new(Some("nvme"))
    };
    let error = machine.available().expect_err("refused");
    assert!(matches!(error, Error::NotTaken { .. }), "{error}");
    assert_eq!(machine.state(), Machine::new(Some("nvme")).state());
}

#[test]
fn an_override_that_was_set_is_set_again() {
    let machine = Machine::new(Some("vfio-pci")).failing(3, 1);
    machine.state.borrow_mut().driver_override = Some("vfio-pci".into());
    let before = machine.state();
    machine.available().expect_err("the pool refuses");
    assert_eq!(machine.state(), before);
}

#[test]
fn nothing_is_touched_without_consent_or_without_the_module() {
    let machine = Machine::new(Some("nvme"));
    let refuse = |function, driver: &str| {
        assert_eq!(driver, "nvme");
        Err(Error::DriverBound {
            function,
            driver: driver.into(),
        })
    };
    let done = available(&machine, &machine, target(), Protection::Required, &refuse);
    assert!(matches!(done, Err(Error::DriverBound { .. })));
    assert_eq!(machine.steps.get(), 0);

    let machine = Machine {
        stub: false,
        ..Machine::new(Some("nvme"))
    };
    assert!(matches!(machine.available(), Err(Error::NoStub)));
    assert_eq!(machine.steps.get(), 0);
}

#[test]
fn what_is_removed_was_made_unavailable() {
    let machine = Machine::new(Some("nvme"));
    machine.available().expect("available");
    remove(&machine, &machine, target(), Withdrawal::Force).expect("removed");
    assert_eq!(machine.state(), Machine::new(Some("nvme")).state());
}

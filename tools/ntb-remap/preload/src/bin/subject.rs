// SPDX-License-Identifier: GPL-2.0
//! The program that the tests load the helper into: maps windows and touches them as it is told on standard input, one command a line.
//!
//! Answers are "ok …" or "error NUMBER", one line each. It is as little aware of the helper as QEMU is.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use libc::{c_int, c_void};

const PAGE: usize = 4096;

type Answer = Result<String, c_int>;

#[derive(Clone, Copy)]
struct Window {
    start: usize,
    len: usize,
}

impl Window {
    fn word(&self, offset: usize) -> *mut u64 {
        assert!(offset % 8 == 0 && offset < self.len, "outside the window");
        (self.start + offset) as *mut u64
    }

    fn read(&self, offset: usize) -> u64 {
        // SAFETY: within a mapping of this program.
        unsafe { self.word(offset).read_volatile() }
    }

    fn write(&self, offset: usize, value: u64) {
        // SAFETY: within a mapping of this program that nothing else refers to.
        unsafe { self.word(offset).write_volatile(value) }
    }
}

fn last_error() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A new file of this size: with a path for a name a real one, otherwise one without any folder.
fn window_file(name: &str, size: usize) -> Result<File, c_int> {
    if name.starts_with('/') {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(name).map_err(|_| libc::EIO)?;
        file.set_len(size as u64).map_err(|_| libc::EIO)?;
        return Ok(file);
    }
    let name = std::ffi::CString::new(name).map_err(|_| libc::EINVAL)?;
    // SAFETY: the name ends with a 0 byte.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(last_error());
    }
    // SAFETY: it was made just now and belongs to nobody else.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(size as u64).map_err(|_| libc::EIO)?;
    Ok(file)
}

fn map(
    addr: usize,
    len: usize,
    prot: c_int,
    flags: c_int,
    fd: c_int,
    offset: usize,
) -> Result<usize, c_int> {
    let addr = addr as *mut c_void;
    // SAFETY: fixed mappings go over reservations of this program only.
    let result = unsafe { libc::mmap64(addr, len, prot, flags, fd, offset as i64) };
    if result == libc::MAP_FAILED {
        Err(last_error())
    } else {
        Ok(result as usize)
    }
}

fn unmap(start: usize, len: usize) -> Result<(), c_int> {
    // SAFETY: a mapping of this program; commands that use it later are not given.
    match unsafe { libc::munmap(start as *mut c_void, len) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

const READ_WRITE: c_int = libc::PROT_READ | libc::PROT_WRITE;

/// The plain way.
fn map_window(name: &str, offset: usize, len: usize) -> Result<Window, c_int> {
    let file = window_file(name, offset + len)?;
    let start = map(
        0,
        len,
        READ_WRITE,
        libc::MAP_SHARED,
        file.as_raw_fd(),
        offset,
    )?;
    Ok(Window { start, len })
}

/// QEMU's way: reserve more than is needed, map over an aligned part of it, give the rest back.
fn map_aligned(name: &str, offset: usize, len: usize) -> Result<Window, c_int> {
    const ALIGN: usize = 2 << 20;
    let file = window_file(name, offset + len)?;
    let total = len + ALIGN;
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let reserve = map(0, total, libc::PROT_NONE, anonymous, -1, 0)?;
    let aligned = reserve.next_multiple_of(ALIGN);
    let flags = libc::MAP_SHARED | libc::MAP_FIXED;
    let start = map(aligned, len, READ_WRITE, flags, file.as_raw_fd(), offset)?;
    if aligned > reserve {
        unmap(reserve, aligned - reserve)?;
    }
    let end = aligned + len;
    if reserve + total > end + PAGE {
        unmap(end + PAGE, reserve + total - end - PAGE)?;
    }
    Ok(Window { start, len })
}

/// Threads that read and write all over a window until they are stopped.
struct Hammer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    rounds: Arc<AtomicU64>,
    bad: Arc<AtomicU64>,
}

impl Hammer {
    fn start(window: Window, good: Vec<u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let bad = Arc::new(AtomicU64::new(0));
        let body = |writes: bool| {
            let (stop, rounds, bad) = (Arc::clone(&stop), Arc::clone(&rounds), Arc::clone(&bad));
            let good = good.clone();
            move || {
                let mut page = 1_usize;
                while !stop.load(Ordering::Relaxed) {
                    // Any order that comes round to every page.
                    page = (page * 5 + 7) % (window.len / PAGE);
                    if writes {
                        window.write(page * PAGE + 8, page as u64);
                    } else if !good.contains(&window.read(page * PAGE)) {
                        bad.fetch_add(1, Ordering::Relaxed);
                    }
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let threads = [false, false, true].map(|writes| thread::spawn(body(writes)));
        Self {
            threads: threads.into(),
            stop,
            rounds,
            bad,
        }
    }

    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no panic in the loop");
        }
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        (get(&self.rounds), get(&self.bad))
    }
}

/// How many mappings of this process lie in a window.
fn count_mappings(window: Window) -> Result<usize, c_int> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|_| libc::EIO)?;
    let inside = |line: &&str| {
        let start = line.split('-').next().unwrap_or_default();
        let start = usize::from_str_radix(start, 16).unwrap_or(0);
        (window.start..window.start + window.len).contains(&start)
    };
    Ok(maps.lines().filter(inside).count())
}

/// A system call that writes into the window.
fn pread(window: Window, offset: usize) -> Answer {
    let file = File::open("/proc/self/exe").map_err(|_| libc::EIO)?;
    let place = window.word(offset).cast();
    // SAFETY: 8 bytes within a mapping of this program.
    match unsafe { libc::pread(file.as_raw_fd(), place, 8, 0) } {
        -1 => Err(last_error()),
        count => Ok(count.to_string()),
    }
}

#[derive(Default)]
struct Subject {
    windows: Vec<Window>,
    hammer: Option<Hammer>,
}

impl Subject {
    fn add(&mut self, window: Window) -> Answer {
        self.windows.push(window);
        Ok((self.windows.len() - 1).to_string())
    }

    fn run(&mut self, line: &str) -> Answer {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| {
            let word = words.get(at).copied().unwrap_or_default();
            usize::from_str_radix(word, 16).map_err(|_| libc::EINVAL)
        };
        let window = |at: usize| {
            let window = self.windows.get(number(at)?);
            window.copied().ok_or(libc::EINVAL)
        };
        match *words.first().ok_or(libc::EINVAL)? {
            "map" => {
                let window = map_window(words[1], number(2)?, number(3)?)?;
                self.add(window)
            }
            "map-aligned" => {
                let window = map_aligned(words[1], number(2)?, number(3)?)?;
                self.add(window)
            }
            "map-over" => {
                let window = window(1)?;
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
                map(window.start, window.len, READ_WRITE, flags, -1, 0)?;
                Ok(String::new())
            }
            "unmap" => {
                let window = window(1)?;
                unmap(window.start, window.len).map(|()| String::new())
            }
            "unmap-part" => {
                let window = window(1)?;
                unmap(window.start + number(2)?, number(3)?).map(|()| String::new())
            }
            "read" => Ok(format!("{:x}", window(1)?.read(number(2)?))),
            "write" => {
                window(1)?.write(number(2)?, number(3)? as u64);
                Ok(String::new())
            }
            "sweep" => {
                let window = window(1)?;
                let ones = (0..window.len)
                    .step_by(PAGE)
                    .filter(|at| window.read(*at) == u64::MAX);
                Ok(ones.count().to_string())
            }
            "pread" => pread(window(1)?, number(2)?),
            "mappings" => count_mappings(window(1)?).map(|count| count.to_string()),
            "hammer" => {
                let good = (2..words.len()).map(|at| number(at).map(|value| value as u64));
                let good = good.collect::<Result<Vec<_>, _>>()?;
                self.hammer = Some(Hammer::start(window(1)?, good));
                Ok(String::new())
            }
            "rest" => {
                let (rounds, bad) = self.hammer.take().ok_or(libc::EINVAL)?.stop();
                Ok(format!("{rounds} {bad}"))
            }
            "crash" => {
                // SAFETY: none; the program is meant to be ended by this.
                unsafe { std::ptr::dangling_mut::<u64>().write_volatile(0) };
                Ok(String::new())
            }
            _ => Err(libc::ENOSYS),
        }
    }
}

fn main() -> io::Result<()> {
    let mut subject = Subject::default();
    for line in io::stdin().lock().lines() {
        match subject.run(&line?) {
            Ok(text) => println!("ok {text}"),
            Err(number) => println!("error {number}"),
        }
        io::stdout().flush()?;
    }
    Ok(())
}

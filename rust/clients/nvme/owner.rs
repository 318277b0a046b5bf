// SPDX-License-Identifier: GPL-2.0

//! The owner of a controller: it starts it, and hands out its queues.
//!
//! # Locking
//!
//! The mutex of the books is held while queues are made and given up, and while the controller is reset, which takes admin
//! commands: the admin queue's mutex is taken inside of it.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use skiff_client::Borrowed;
use skiff_nvme_model::{
    command::{
        Command,
        Signal, //
    },
    doorbell::Stride,
    identify::{
        active,
        queues,
        Controller,
        Namespace, //
    },
    pairs::{
        Holder,
        Pairs, //
    },
    protocol::{
        Limits,
        Pair, //
    },
    queue,
    registers::{
        Capabilities,
        State, //
    },
    PAGE, //
};

use crate::{
    admin::{
        self,
        AdminQueue,
        Taken, //
    },
    bells::Bells,
    registers::Registers, //
};

/// Pairs of I/O queues that are asked for, at most: as many as there are vectors, but for that of the admin queue.
pub(crate) const PAIRS: u16 = 63;

/// The owner.
#[pin_data]
pub(crate) struct Owner {
    device: Arc<Borrowed>,
    bells: Arc<Bells>,
    capabilities: Capabilities,
    limits: Limits,
    vectors: u16,
    /// The controller takes shadow doorbells.
    shadows: bool,
    /// Counts the starts of the controller.
    generation: Atomic<u32>,
    admin: Pin<KBox<AdminQueue>>,
    #[pin]
    books: Mutex<Books>,
}

/// Who has which pair of queues.
type Books = Pairs<KVec<Holder>>;

fn books(pairs: u32) -> Result<Books> {
    let pairs = pairs.min(PAIRS.into()) as usize;

    Ok(Pairs::new(KVec::from_elem(
        Holder::Nobody,
        pairs,
        GFP_KERNEL,
    )?))
}

impl Owner {
    /// Starts the controller, whose device has so many vectors. Process context.
    pub(crate) fn start(
        device: &Arc<Borrowed>,
        bells: Arc<Bells>,
        vectors: u16,
    ) -> Result<Arc<Self>> {
        let registers = bells.registers();
        let capabilities = registers.capabilities()?;

        registers.disable(capabilities.patience)?;
        device.master(true)?;

        let admin = KBox::pin_init(AdminQueue::new(device)?, GFP_KERNEL)?;

        start(registers, &capabilities, &admin)?;

        let identity = admin.identify(&bells, Command::identify_controller)?;
        let identity = Controller::read(&identity).map_err(|wrong| {
            pr_err!("{}\n", wrong.0);
            ENODEV
        })?;
        let books = books(queues(admin.run(&bells, &Command::set_queues(PAIRS))?))?;
        let limits = Limits {
            // CAST: No more than there may be.
            entries: capabilities.entries.min(u32::from(*queue::ENTRIES.end())) as u16,
            queues: u16::try_from(books.count())?,
            most: identity.most,
            stride: capabilities.stride,
            abilities: identity.abilities,
        };

        pr_info!(
            "{} {}, version {:#x}, {} queues\n",
            text(&identity.model),
            text(&identity.serial),
            registers.version()?,
            limits.queues
        );
        set_shadows(&bells, &mut admin.take(), identity.shadows);
        Arc::pin_init(
            try_pin_init!(Self {
                device: device.clone(),
                bells,
                capabilities,
                limits,
                vectors,
                shadows: identity.shadows,
                generation: Atomic::new(1),
                admin,
                books <- new_mutex!(books, "Owner::books"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// How the controller is shared.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The vector of a pair of queues. The first is that of the admin queue, unless there are no others.
    fn vector(&self, number: u16) -> u16 {
        match self.vectors {
            0 | 1 => 0,
            vectors => 1 + (number - 1) % (vectors - 1),
        }
    }

    fn run(&self, command: &Command) -> Result<u32> {
        self.admin.run(&self.bells, command)
    }

    /// Makes a pair of queues known to the controller, for a node that has heard of this start: its number and its vector. `EAGAIN`
    /// if that start is over, `ENOSPC` if there are no more.
    /// Process context.
    pub(crate) fn create(&self, node: u32, pair: &Pair, start: u32) -> Result<(u16, u16)> {
        let mut books = self.books.lock();

        self.check(start)?;
        books.knows(node);

        let number = books.free().ok_or(ENOSPC)?;
        let (vector, signal) = match pair.polled() {
            true => (0, Signal::None),
            false => {
                let vector = self.vector(number);

                (vector, Signal::Vector(vector))
            }
        };
        let (entries, completions) = (pair.entries(), pair.completions());

        self.bells.clear(number)?;

        self.run(&Command::create_completions(
            number,
            entries,
            completions,
            signal,
        ))?;

        let submissions = Command::create_submissions(number, entries, pair.submissions());

        if let Err(error) = self.run(&submissions) {
            // If that fails, too, the queue is no more than unknown.
            if self.run(&Command::delete_completions(number)).is_err() {
                books.mark(number, node);
            }
            return Err(error);
        }
        books.mark(number, node);
        Ok((number, vector))
    }

    /// Whether this start is the present one; `EAGAIN`. It stays so while the books are locked.
    fn check(&self, start: u32) -> Result {
        match start == self.generation() {
            true => Ok(()),
            false => Err(EAGAIN),
        }
    }

    /// Has the controller forget the pairs of queues of a node, which does not use them any more: it completes what was under way
    /// before, or aborts it. What it does not forget stays the node's. Process context.
    pub(crate) fn delete_all(&self, node: u32) -> Result {
        let mut books = self.books.lock();

        books.knows(node);
        loop {
            let Some(number) = books.of(node).next() else {
                return Ok(());
            };

            self.run(&Command::delete_submissions(number))?;
            self.run(&Command::delete_completions(number))?;
            books.clear(number);
        }
    }

    /// How many pairs of queues a node has.
    pub(crate) fn pairs(&self, node: u32) -> usize {
        self.books.lock().of(node).count()
    }

    /// Counts the starts of the controller.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// How it stands with the controller. A load across the fabric.
    pub(crate) fn state(&self) -> State {
        self.bells.registers().state()
    }

    /// The active namespace with the lowest number above `after` that can be a disk. Process context.
    pub(crate) fn namespace(&self, after: u32) -> Result<Option<Namespace>> {
        let list = |to| Command::identify_active(after, to);
        let list = self.admin.identify(&self.bells, list)?;

        for id in active(after, &list) {
            let what = |to| Command::identify_namespace(id, to);
            let what = self.admin.identify(&self.bells, what)?;

            match Namespace::read(id, &what) {
                Ok(namespace) => return Ok(Some(namespace)),
                Err(wrong) => pr_warn!("namespace {} is left out: {}\n", id, wrong.0),
            }
        }
        Ok(None)
    }

    /// Asks the controller to abort a command of a pair of queues of a node, of this start. `EAGAIN` if that is over, `ENOENT` if
    /// there is no such pair. Process context.
    pub(crate) fn abort(&self, node: u32, number: u16, command: u16, start: u32) -> Result {
        // Held until it is done: there is that pair so long.
        let books = self.books.lock();

        self.check(start)?;
        if !books.has(number, node) {
            return Err(ENOENT);
        }
        self.run(&Command::abort(number, command))?;
        Ok(())
    }

    /// Resets the controller: all queues are gone when this returns, also if it fails. Process context.
    pub(crate) fn reset(&self) -> Result {
        let mut books = self.books.lock();
        let mut admin = self.admin.take();
        let registers = self.bells.registers();

        registers.disable(self.capabilities.patience)?;
        self.generation.fetch_add(1, Relaxed);
        books.reset();
        admin.restart()?;
        self.bells.restart()?;
        self.device.master(true)?;
        start(registers, &self.capabilities, &self.admin)?;
        admin.run(&self.bells, &Command::set_queues(PAIRS))?;
        set_shadows(&self.bells, &mut admin, self.shadows);
        Ok(())
    }

    /// Stops the controller; nobody uses it any more. Process context.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.bells.registers().shut_down(self.capabilities.patience) {
            pr_warn!("the controller does not stop: {:?}\n", error);
        }
    }
}

fn start(registers: &Registers, capabilities: &Capabilities, admin: &AdminQueue) -> Result {
    let (submissions, completions) = admin.addresses();

    registers.enable(
        capabilities.patience,
        admin::ENTRIES,
        submissions,
        completions,
    )
}

/// Has a controller that takes shadow doorbells look at them; one that does not do it then goes on without.
fn set_shadows(bells: &Bells, admin: &mut Taken<'_>, takes: bool) {
    let Some((values, events)) = bells.pages().filter(|_| takes) else {
        return;
    };

    match admin.run(bells, &Command::set_shadows(values, events)) {
        Ok(_) => bells.use_shadows(),
        Err(error) => pr_info!("no shadow doorbells: {:?}\n", error),
    }
}

/// Bytes of BAR 0 to map for all queues, of a BAR of so many bytes.
pub(crate) fn span(stride: Stride, bar: u64) -> Result<usize> {
    let page = u64::from(PAGE);
    let wanted = stride.span(PAIRS).div_ceil(page) * page;

    if bar < wanted {
        return Err(ENODEV);
    }
    Ok(usize::try_from(wanted)?)
}

/// What of a text of ASCII is not filling.
fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).map_or("?", str::trim_ascii_end)
}

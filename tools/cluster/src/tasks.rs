// SPDX-License-Identifier: GPL-2.0
//! Reads what a kernel tells of its tasks (SysRq "t"): which of them matter, and what they wait in. Pure.

/// Most calls that are told of one task.
const CALLS: usize = 6;

/// Calls that every waiting task is in.
const SCHEDULER: [&str; 5] = [
    "__schedule",
    "schedule",
    "schedule_timeout",
    "schedule_hrtimeout_range_clock",
    "preempt_schedule_common",
];

/// One line for every task that is a program's or blocked: its name, its state, and its calls from the innermost on.
pub(crate) fn waiting(lines: &[String]) -> Vec<String> {
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for line in lines.iter().map(|line| text(line)) {
        if let Some(task) = Task::parse(line) {
            tasks.push(task);
        } else if let (Some(task), Some(call)) = (tasks.last_mut(), call(line)) {
            task.calls.push(call);
        }
    }
    let matters = |task: &&Task<'_>| !task.is_kernel_thread || task.state == "D";
    tasks.iter().filter(matters).map(Task::told).collect()
}

struct Task<'a> {
    name: &'a str,
    state: &'a str,
    is_kernel_thread: bool,
    calls: Vec<&'a str>,
}

impl<'a> Task<'a> {
    /// A line as `sched_show_task` (kernel/sched/core.c) prints it. A name may have blanks in it.
    fn parse(line: &'a str) -> Option<Self> {
        let (name, fields) = line.strip_prefix("task:")?.split_once(" state:")?;
        let field = |key: &str| {
            let (_, rest) = fields.split_once(key)?;
            rest.split_whitespace().next()
        };
        let (pid, parent) = (field(" pid:")?, field(" ppid:")?);
        Some(Task {
            name: name.trim_end(),
            state: fields.split_whitespace().next()?,
            is_kernel_thread: pid == KTHREADD || parent == KTHREADD,
            calls: Vec::new(),
        })
    }

    fn told(&self) -> String {
        let calls: Vec<&str> = self
            .calls
            .iter()
            .copied()
            .filter(|call| !SCHEDULER.contains(call))
            .take(CALLS)
            .collect();
        format!("{} ({}): {}", self.name, self.state, calls.join(" < "))
    }
}

/// The process that all kernel threads are children of.
const KTHREADD: &str = "2";

/// A console line without its time.
fn text(line: &str) -> &str {
    match line.split_once("] ") {
        Some((_, text)) if line.starts_with('[') => text.trim(),
        _ => line.trim(),
    }
}

/// The function of a line of a call trace; one that only happens to be on the stack (`?`) is none.
fn call(line: &str) -> Option<&str> {
    let (name, offset) = line.split_once("+0x")?;
    let is_call = offset.contains("/0x") && !name.contains(char::is_whitespace);
    is_call.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::waiting;

    #[test]
    fn programs_and_blocked_tasks() {
        let console = "\
[   26.1] sysrq: Show State
[   26.1] task:init            state:S stack:0     pid:1     tgid:1     ppid:0      task_flags:0x400100 flags:0x00000002
[   26.1] Call Trace:
[   26.1]  <TASK>
[   26.1]  __schedule+0x3f1/0xb30
[   26.1]  ? __pfx_x+0x3/0x10
[   26.1]  schedule+0x27/0xf0
[   26.1]  port_fops_read+0x1bc/0x230 [virtio_console]
[   26.1]  vfs_read+0xbe/0x370
[   26.1] RIP: 0033:0x7f1d2c8f1a
[   26.1]  </TASK>
[   26.1] task:kworker/0:1     state:I stack:0     pid:9     tgid:9     ppid:2      task_flags:0x4208060 flags:0x00004000
[   26.1]  worker_thread+0x1/0x2
[   26.1] task:kworker/0:2     state:D stack:0     pid:10    tgid:10    ppid:2      task_flags:0x4208060 flags:0x00004000
[   26.1]  synchronize_rcu+0x1/0x2
[   26.1] task:stream 7        state:S stack:0     pid:11    tgid:1     ppid:0      task_flags:0x400040 flags:0x00000002";
        let lines: Vec<String> = console.lines().map(str::to_owned).collect();
        assert_eq!(
            waiting(&lines),
            [
                "init (S): port_fops_read < vfs_read",
                "kworker/0:2 (D): synchronize_rcu",
                "stream 7 (S): ",
            ]
        );
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Pairs of queues: nobody is given the number of a pair whose doorbells another node may ring still.

use proptest::prelude::*;
use skiff_nvme_model::pairs::Holder;
use skiff_nvme_model::pairs::Pairs;

const COUNT: usize = 8;
const NODES: u32 = 3;

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A node that knows of the last reset makes a pair.
    Make(u32),
    /// The node's pairs are given up.
    Leave(u32),
    /// The controller is reset.
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..NODES).prop_map(Step::Make),
        1 => (0..NODES).prop_map(Step::Leave),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #[test]
    fn a_doorbell_is_rung_by_one_node(steps in prop::collection::vec(step(), 0..100)) {
        let mut pairs = Pairs::new(vec![Holder::default(); COUNT]);
        // Numbers of which each node may ring the doorbells, and those that the controller knows.
        let mut rings = vec![Vec::new(); NODES as usize];
        let mut knows = vec![Vec::new(); NODES as usize];
        for step in steps {
            match step {
                Step::Make(node) => {
                    pairs.knows(node);
                    rings[node as usize].clone_from(&knows[node as usize]);
                    let taken: usize = rings.iter().map(Vec::len).sum();
                    let Some(number) = pairs.free() else {
                        prop_assert_eq!(taken, COUNT);
                        continue;
                    };
                    prop_assert!((1..=COUNT as u16).contains(&number));
                    prop_assert!(rings.iter().flatten().all(|other| *other != number), "{number} twice");
                    pairs.mark(number, node);
                    rings[node as usize].push(number);
                    knows[node as usize].push(number);
                }
                Step::Leave(node) => {
                    pairs.knows(node);
                    for number in pairs.of(node).collect::<Vec<_>>() {
                        pairs.clear(number);
                    }
                    rings[node as usize].clear();
                    knows[node as usize].clear();
                }
                Step::Reset => {
                    pairs.reset();
                    knows.iter_mut().for_each(Vec::clear);
                }
            }
            for (node, own) in (0..).zip(&mut knows) {
                own.sort_unstable();
                prop_assert_eq!(&pairs.of(node).collect::<Vec<_>>(), &*own);
                prop_assert!(own.iter().all(|number| pairs.has(*number, node)));
                prop_assert!(!pairs.has(0, node));
            }
        }
    }
}

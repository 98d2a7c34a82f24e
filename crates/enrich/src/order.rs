//! In which round of asks each enricher asks, from what each needs to know before it can.
//!
//! ```text
//! round 0            round 1                 round 2
//! geo, user  ------> plan                    discount
//!                    needs enriched.user     needs enriched.plan, enriched.geo
//! ```
//! Those of one round are asked together; so a lookup waits for what it reads, and for nothing else. The order is a function
//! of names and needs alone: the order of the configuration decides nothing but the order of members in the output.

use flow::ROUNDS_MAX;

/// What the order is made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node<'n> {
    /// The member it writes.
    pub name: &'n str,
    /// The members it reads before it asks.
    pub needs: Vec<&'n str>,
    /// Whether what it writes depends on answers. What does not is there from the beginning.
    pub asks: bool,
}

/// Why there is no order. `at` is the place of the node to be changed among those given, and `need` of what it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderError {
    pub at: usize,
    pub need: usize,
    /// For people.
    pub message: String,
}

/// For each node its round.
///
/// # Errors
/// A need that nobody writes, a cycle, more than [`ROUNDS_MAX`] rounds. The first of them, in the order of the nodes.
pub fn rounds(nodes: &[Node<'_>]) -> Result<Vec<usize>, OrderError> {
    for (at, node) in nodes.iter().enumerate() {
        for (need, name) in node.needs.iter().enumerate() {
            if place(nodes, name).is_none() {
                let message = format!("nobody writes `enriched.{name}`; there are {}", others(nodes, at));
                return Err(OrderError { at, need, message });
            }
        }
    }
    let mut rounds = vec![None; nodes.len()];
    // A node is settled when all it needs is. Each pass settles at least one, or what is left has a cycle.
    loop {
        let mut settled = false;
        for (at, node) in nodes.iter().enumerate().filter(|(at, _)| rounds[*at].is_none()).collect::<Vec<_>>() {
            let ready = node.needs.iter().map(|name| {
                let writer = place(nodes, name).expect("looked for above");
                rounds[writer].map(|round: usize| round + usize::from(nodes[writer].asks))
            });
            if let Some(round) = ready.collect::<Option<Vec<usize>>>().map(|r| r.into_iter().max().unwrap_or(0)) {
                rounds[at] = Some(round);
                settled = true;
            }
        }
        if !settled {
            break;
        }
    }
    if let Some(stuck) = rounds.iter().position(Option::is_none) {
        return Err(cycle(nodes, &rounds, stuck));
    }
    let rounds: Vec<usize> = rounds.into_iter().flatten().collect();
    match rounds.iter().position(|round| *round >= ROUNDS_MAX) {
        Some(at) => Err(too_long(nodes, &rounds, at)),
        None => Ok(rounds),
    }
}

fn place(nodes: &[Node<'_>], name: &str) -> Option<usize> {
    nodes.iter().position(|n| n.name == name)
}

fn others(nodes: &[Node<'_>], at: usize) -> String {
    let names = nodes.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, n)| n.name);
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "no other members yet".to_owned() } else { names.join(", ") }
}

/// The cycle that a node without a round leads into, by following a need without a round from node to node.
fn cycle(nodes: &[Node<'_>], rounds: &[Option<usize>], from: usize) -> OrderError {
    let stuck_need = |at: usize| {
        let needs = nodes[at].needs.iter().enumerate();
        let mut stuck = needs.filter_map(|(need, name)| {
            let writer = place(nodes, name)?;
            rounds[writer].is_none().then_some((need, writer))
        });
        stuck.next().expect("a node without a round needs one")
    };
    let mut way = vec![from];
    let start = loop {
        let (_, next) = stuck_need(way[way.len() - 1]);
        if let Some(start) = way.iter().position(|at| *at == next) {
            break start;
        }
        way.push(next);
    };
    // Told from its first node on, so that the same cycle is told alike wherever it was entered.
    let mut way = way.split_off(start);
    let first = way.iter().enumerate().min_by_key(|(_, at)| **at).map_or(0, |(n, _)| n);
    way.rotate_left(first);
    let at = way[0];
    way.push(at);
    let chain = chain(nodes, &way);
    let message = if way.len() == 2 {
        format!("`{}` needs what it writes itself", nodes[at].name)
    } else {
        format!("these wait for one another: {chain} (each needs the next)")
    };
    OrderError { at, need: stuck_need(at).0, message }
}

/// The chain of needs that brought a node beyond the last round.
fn too_long(nodes: &[Node<'_>], rounds: &[usize], at: usize) -> OrderError {
    let latest = |at: usize| {
        let needs = nodes[at].needs.iter().enumerate();
        needs
            .filter_map(|(need, name)| {
                let writer = place(nodes, name)?;
                Some((need, writer, rounds[writer] + usize::from(nodes[writer].asks)))
            })
            // The first of the latest ones.
            .fold(None, |best: Option<(usize, usize, usize)>, this| match best {
                Some(best) if best.2 >= this.2 => Some(best),
                _ => Some(this),
            })
    };
    let mut way = vec![at];
    while let Some((_, writer, _)) = latest(way[way.len() - 1]) {
        way.push(writer);
    }
    let message = format!(
        "{} is a chain of {} that need one another; at most {ROUNDS_MAX} can be asked one after another",
        chain(nodes, &way),
        way.len()
    );
    OrderError { at, need: latest(at).map_or(0, |(need, ..)| need), message }
}

fn chain(nodes: &[Node<'_>], way: &[usize]) -> String {
    way.iter().map(|at| nodes[*at].name).collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `user`, `plan<user`, `=campaign` (does not ask).
    fn nodes<'n>(texts: &[&'n str]) -> Vec<Node<'n>> {
        let node = |text: &'n str| {
            let (name, needs) = text.split_once('<').unwrap_or((text, ""));
            let needs = needs.split(',').filter(|n| !n.is_empty()).collect();
            Node { name: name.trim_start_matches('='), needs, asks: !name.starts_with('=') }
        };
        texts.iter().map(|t| node(t)).collect()
    }

    #[test]
    fn who_needs_an_answer_asks_after_it() {
        for (texts, expected) in [
            (&["geo", "user"][..], &[0, 0][..]),
            (&["plan<user", "user"], &[1, 0]),
            (&["geo", "=campaign", "user", "plan<user", "discount<plan,geo", "region<geo"], &[0, 0, 0, 1, 2, 1]),
            // What asks nothing is there at once; what only passes on is there when what it reads is.
            (&["=campaign", "owner<campaign"], &[0, 0]),
            (&["user", "=label<user", "x<label"], &[0, 1, 1]),
            (&["a<b", "b<c", "c<d", "d<e", "e<f", "f<g", "g<h", "h"], &[7, 6, 5, 4, 3, 2, 1, 0]),
            (&[], &[]),
        ] {
            assert_eq!(rounds(&nodes(texts)).as_deref(), Ok(expected), "{texts:?}");
        }
    }

    #[test]
    fn what_has_no_order_names_those_who_are_in_its_way() {
        for (texts, at, need, says) in [
            (&["geo", "plan<user"][..], 1, 0, "nobody writes `enriched.user`; there are geo"),
            (&["plan<geo,user", "geo"], 0, 1, "nobody writes `enriched.user`"),
            (&["plan<user"], 0, 0, "there are no other members yet"),
            (&["a<a"], 0, 0, "`a` needs what it writes itself"),
            (&["x<a", "b<a", "a<geo,b", "geo"], 1, 0, "these wait for one another: b -> a -> b"),
            (&["z<c", "c<a", "b<c", "a<b"], 1, 0, "c -> a -> b -> c"),
            (
                &["a<b", "b<c", "c<d", "d<e", "e<f", "f<g", "g<h", "h<geo", "geo"],
                0,
                0,
                "a -> b -> c -> d -> e -> f -> g -> h -> geo is a chain of 9 that need one another; at most 8",
            ),
        ] {
            let error = rounds(&nodes(texts)).expect_err(says);
            assert!(error.message.contains(says), "{}", error.message);
            assert_eq!((error.at, error.need), (at, need), "{texts:?}");
        }
    }

    proptest! {
        /// Against the law itself, on graphs of all kinds.
        #[test]
        fn every_round_is_the_first_in_which_all_needs_are_met(
            needs in prop::collection::vec((prop::collection::btree_set(0usize..9, 0..3), any::<bool>()), 1..9)
        ) {
            const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
            let nodes: Vec<Node<'_>> = needs.iter().enumerate().map(|(n, (needs, asks))| Node {
                name: NAMES[n], needs: needs.iter().map(|n| NAMES[*n]).collect(), asks: *asks,
            }).collect();
            match rounds(&nodes) {
                Ok(rounds) => for (node, round) in nodes.iter().zip(&rounds) {
                    let ready = node.needs.iter().map(|name| {
                        let writer = NAMES.iter().position(|n| n == name).expect("a name");
                        rounds[writer] + usize::from(nodes[writer].asks)
                    });
                    prop_assert_eq!(*round, ready.max().unwrap_or(0));
                    prop_assert!(*round < ROUNDS_MAX);
                },
                Err(error) => {
                    prop_assert!(error.at < nodes.len() && error.need < nodes[error.at].needs.len());
                    prop_assert!(error.message.contains(nodes[error.at].name) || error.message.contains("nobody"));
                }
            }
        }
    }
}

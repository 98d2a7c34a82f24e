//! Who comes often: rank k is drawn with weight 1/k.

use crate::rng::Rng;

/// Walker's alias table (Vose 1991): a draw is two loads, whatever the number of ranks. Built with `+ - * /` on doubles
/// only, which IEEE 754 fixes to the bit, so that a seed means the same everywhere.
pub struct Zipf {
    /// Of 2^32: below it the column's own rank, else its alias.
    threshold: Vec<u32>,
    alias: Vec<u32>,
}

impl Zipf {
    /// Ranks `0..n`; `n` from 1 to 2^32 - 1.
    pub fn new(n: u32) -> Zipf {
        assert!(n > 0, "nobody to draw");
        let n_ranks = n as usize;
        let total: f64 = (1..=n).map(|k| 1.0 / f64::from(k)).sum();
        let mut weight: Vec<f64> = (1..=n).map(|k| f64::from(n) / (f64::from(k) * total)).collect();
        let mut small: Vec<u32> = (0..n).filter(|i| weight[*i as usize] < 1.0).collect();
        let mut large: Vec<u32> = (0..n).filter(|i| weight[*i as usize] >= 1.0).collect();
        let mut zipf = Zipf { threshold: vec![u32::MAX; n_ranks], alias: (0..n).collect() };
        while let (Some(s), Some(l)) = (small.pop(), large.pop()) {
            zipf.threshold[s as usize] = (weight[s as usize] * 4_294_967_296.0) as u32;
            zipf.alias[s as usize] = l;
            weight[l as usize] -= 1.0 - weight[s as usize];
            if weight[l as usize] < 1.0 { small.push(l) } else { large.push(l) }
        }
        zipf
    }

    pub fn draw(&self, rng: &mut Rng) -> u32 {
        let r = rng.next_u64();
        let column = ((u128::from(r >> 32) * self.threshold.len() as u128) >> 32) as usize;
        if (r as u32) < self.threshold[column] { column as u32 } else { self.alias[column] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_as_often_as_the_law_says() {
        let (zipf, mut rng) = (Zipf::new(1000), Rng::new(3));
        let mut seen = vec![0f64; 1000];
        const DRAWS: u32 = 400_000;
        for _ in 0..DRAWS {
            seen[zipf.draw(&mut rng) as usize] += 1.0;
        }
        let total: f64 = (1..=1000).map(|k| 1.0 / f64::from(k)).sum();
        for rank in [1u32, 2, 10, 100] {
            let expected = f64::from(DRAWS) / (f64::from(rank) * total);
            let got = seen[rank as usize - 1];
            assert!((got / expected - 1.0).abs() < 0.15, "rank {rank}: {got} of {expected}");
        }
    }
}

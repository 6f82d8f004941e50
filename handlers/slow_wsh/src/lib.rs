#![forbid(unsafe_code)]
//! Splits numbers into their prime factors, by trying every divisor: `84` is `84 = 2 × 2 × 3 × 7`.
//!
//! A large number takes a while, and only the thread of its session waits. That is what the blocking style is for: code
//! that computes, or calls a library that blocks.

use wsh::prelude::*;

fn slow(conn: BlockingConn) -> Result {
    for message in &conn {
        match message.to_string().trim().parse() {
            Ok(number @ 2..=NUMBER_MAX) => conn.send(taken_apart(number))?,
            _ => conn.send(format!("a number from 2 to {NUMBER_MAX}, please"))?,
        };
    }
    Ok(())
}

fn taken_apart(number: u64) -> String {
    let mut factors = Vec::new();
    let mut rest = number;
    let mut divisor = 2;
    while divisor * divisor <= rest {
        if rest.is_multiple_of(divisor) {
            factors.push(divisor.to_string());
            rest /= divisor;
        } else {
            divisor += 1;
        }
    }
    factors.push(rest.to_string());
    format!("{number} = {}", factors.join(" × "))
}

/// A prime of this size takes about a second.
const NUMBER_MAX: u64 = 10_000_000_000_000_000;

wsh::handler!(blocking slow);

#[cfg(test)]
mod tests {
    use super::taken_apart;

    #[test]
    fn the_factors_are_prime_and_in_order() {
        assert_eq!(taken_apart(2), "2 = 2");
        assert_eq!(taken_apart(84), "84 = 2 × 2 × 3 × 7");
        assert_eq!(taken_apart(49), "49 = 7 × 7");
        assert_eq!(
            taken_apart(600_851_475_143),
            "600851475143 = 71 × 839 × 1471 × 6857"
        );
    }
}

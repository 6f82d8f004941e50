//! Medians, quartiles and percentiles.

/// The middle half of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quartiles {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Quartiles {
    /// `None` if there are no figures.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Quartiles> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| {
            let place = share * last as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            sorted[below] + (sorted[above] - sorted[below]) * place.fract()
        };
        Some(Quartiles {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        })
    }
}

/// Returns the percentile of this share, and reorders the figures. 0 if there are none.
pub(crate) fn percentile(figures: &mut [u32], share: f64) -> u32 {
    if figures.is_empty() {
        return 0;
    }
    let place = (share * (figures.len() - 1) as f64).round() as usize;
    *figures.select_nth_unstable(place).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_figures() {
        let quartiles = Quartiles::of([4.0, 1.0, 3.0, 2.0]).unwrap();

        assert_eq!(
            quartiles,
            Quartiles {
                low: 1.75,
                median: 2.5,
                high: 3.25
            }
        );
        assert_eq!(Quartiles::of([]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let mut figures: Vec<u32> = (0..=100).rev().collect();

        assert_eq!(percentile(&mut figures, 0.99), 99);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }
}

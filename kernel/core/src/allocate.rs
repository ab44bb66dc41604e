//! Splitting a whole number over lines so that the parts add up to it exactly.

/// Splits `total` in the proportion of the weights by largest remainder: each part is its exact share rounded
/// down, and the units that are left go to the largest remainders, earlier lines first. Weights are not
/// negative; where all are zero, so are all parts and `total` must be zero.
pub fn allocate(total: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: i64| i128::from(total) * i128::from(weight);
    let mut parts: Vec<i64> = weights
        .iter()
        .map(|weight| (exact(*weight) / sum) as i64)
        .collect();
    let mut left = total - parts.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(exact(weights[*at]) % sum), *at));
    for at in order {
        if left == 0 {
            break;
        }
        parts[at] += 1;
        left -= 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_remainders_take_what_is_left() {
        assert_eq!(allocate(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(allocate(10, &[0, 5, 5]), [0, 5, 5]);
        assert_eq!(allocate(7, &[1, 2, 4]), [1, 2, 4]);
        assert_eq!(allocate(0, &[0, 0]), [0, 0]);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_none_exceeds_its_share_by_one(
            total in 0_i64..1_000_000_000_000,
            weights in prop::collection::vec(0_i64..1_000_000_000_000, 1..60),
        ) {
            let parts = allocate(total, &weights);
            let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
            prop_assume!(sum > 0);
            prop_assert_eq!(parts.iter().sum::<i64>(), total);
            for (part, weight) in parts.iter().zip(&weights) {
                let floor = i128::from(total) * i128::from(*weight) / sum;
                prop_assert!((floor..=floor + 1).contains(&i128::from(*part)));
                prop_assert!(*weight > 0 || *part == 0);
            }
        }
    }
}

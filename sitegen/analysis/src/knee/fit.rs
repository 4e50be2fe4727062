//! Robust straight-line fits: coefficients of a few given columns, by least absolute relative deviations.
//!
//! A deviation counts in proportion to its size, so that one bad measurement does not bend the line; below
//! [`RESOLUTION`] it hardly counts, because no figure is taken to be truer than that.

/// Relative deviation that is not told from none.
pub const RESOLUTION: f64 = 0.003;

/// Rounds of reweighting; the loss is stable to a few percent of itself after about ten.
const ROUNDS: usize = 12;

/// Loss of relative deviations: the mean of √(r² + RESOLUTION²).
pub fn loss(deviations: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for deviation in deviations {
        sum += deviation.hypot(RESOLUTION);
        count += 1;
    }
    sum / f64::from(count.max(1))
}

/// Fits `values` ≈ Σ coefficient · column with deviations relative to `scales`. `None` when the columns do not
/// determine the coefficients.
pub fn fit<const N: usize>(columns: &[[f64; N]], values: &[f64], scales: &[f64]) -> Option<([f64; N], f64)> {
    let mut weights: Vec<f64> = scales.iter().map(|scale| 1.0 / (scale * scale)).collect();
    let mut best: Option<([f64; N], f64)> = None;
    for _ in 0..ROUNDS {
        let coefficients = least_squares(columns, values, &weights)?;
        let deviation = |i: usize| (values[i] - dot(&coefficients, &columns[i])) / scales[i];
        let loss = loss((0..values.len()).map(deviation));
        for i in 0..values.len() {
            weights[i] = 1.0 / (scales[i] * scales[i] * deviation(i).hypot(RESOLUTION));
        }
        if best.as_ref().is_some_and(|(_, before)| loss >= before * 0.9999) {
            break;
        }
        best = Some((coefficients, loss));
    }
    best
}

pub fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Weighted least squares by the normal equations, which do for at most three columns.
pub fn least_squares<const N: usize>(columns: &[[f64; N]], values: &[f64], weights: &[f64]) -> Option<[f64; N]> {
    let mut matrix = [[0.0; N]; N];
    let mut right = [0.0; N];
    for ((row, value), weight) in columns.iter().zip(values).zip(weights) {
        for i in 0..N {
            right[i] += weight * row[i] * value;
            for j in 0..N {
                matrix[i][j] += weight * row[i] * row[j];
            }
        }
    }
    let diagonal: [f64; N] = std::array::from_fn(|i| matrix[i][i]);
    for pivot in 0..N {
        if matrix[pivot][pivot] <= 1e-12 * diagonal[pivot] {
            return None;
        }
        for row in pivot + 1..N {
            let above = matrix[pivot];
            let factor = matrix[row][pivot] / above[pivot];
            matrix[row].iter_mut().zip(above).for_each(|(cell, above)| *cell -= factor * above);
            right[row] -= factor * right[pivot];
        }
    }
    let mut solution = [0.0; N];
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|column| matrix[row][column] * solution[column]).sum();
        solution[row] = (right[row] - known) / matrix[row][row];
    }
    solution.iter().all(|value| value.is_finite()).then_some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_in_spite_of_one_bad_point() {
        let columns: Vec<[f64; 2]> = (1..=10).map(|x| [1.0, f64::from(x)]).collect();
        let mut values: Vec<f64> = columns.iter().map(|row| 3.0 + 2.0 * row[1]).collect();
        values[4] = 100.0;
        let scales: Vec<f64> = columns.iter().map(|row| 3.0 + 2.0 * row[1]).collect();
        let ([intercept, slope], _) = fit(&columns, &values, &scales).expect("determined");
        assert!((intercept - 3.0).abs() < 0.02 && (slope - 2.0).abs() < 0.01, "{intercept} {slope}");
    }

    #[test]
    fn columns_that_say_the_same_determine_nothing() {
        let columns: Vec<[f64; 2]> = (1..=5).map(|x| [f64::from(x), 2.0 * f64::from(x)]).collect();
        assert!(fit(&columns, &[1.0; 5], &[1.0; 5]).is_none());
    }
}

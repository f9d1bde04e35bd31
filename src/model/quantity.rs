//! Kubernetes quantities, as far as sizes of volumes need them.
//!
//! Grammar: `k8s.io/apimachinery/pkg/api/resource`, type Quantity: a signed decimal number with a binary suffix
//! (Ki..Ei), a decimal one (n, u, m, k..E) or an exponent.

/// Bytes that a quantity stands for, rounded up; none when it is not a quantity or not a size.
#[must_use]
pub fn bytes(quantity: &str) -> Option<u128> {
    let split = quantity.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '+').unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(split);
    let (whole, fraction) = number.strip_prefix('+').unwrap_or(number).split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: u128 = format!("{}{fraction}", whole.trim_start_matches('+')).parse().ok()?;
    let below = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (multiplier, divisor) = scale(suffix)?;
    Some(digits.checked_mul(multiplier)?.div_ceil(below.checked_mul(divisor)?))
}

/// Multiplier and divisor of a suffix.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1024_u128.pow(power), 1));
    let decimal = |power: u32| Some((10_u128.pow(power), 1));
    match suffix {
        "" => decimal(0),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn quantities_are_compared_by_what_they_stand_for() {
        assert_eq!(bytes("1Gi"), bytes("1024Mi"));
        assert_eq!(bytes("1.5Ki"), Some(1536));
        assert_eq!(bytes("2G"), Some(2_000_000_000));
        assert_eq!(bytes("1e3"), Some(1000));
        assert_eq!(bytes("12E"), Some(12_000_000_000_000_000_000));
        assert_eq!(bytes("1500m"), Some(2));
        assert_eq!(bytes("+5"), Some(5));
        assert_eq!(bytes(".5Ki"), Some(512));
    }

    #[test]
    fn what_is_not_a_size_has_no_bytes() {
        for text in ["", "Gi", "-1Gi", "1gb", "1.2.3", "1e999", "x"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}

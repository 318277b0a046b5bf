// SPDX-License-Identifier: GPL-2.0
//! Which functions are meant, as programs of pciutils have it: `[VENDOR]:[DEVICE][:CLASS]`.

use std::fmt;
use std::str::FromStr;

/// A number of at most `DIGITS` hexadecimal digits, which remembers how many there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex<const DIGITS: usize> {
    pub value: u64,
    digits: usize,
}

/// Digits that are none, or too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to {0} hexadecimal digits")]
pub struct BadHex(usize);

impl<const DIGITS: usize> FromStr for Hex<DIGITS> {
    type Err = BadHex;

    fn from_str(word: &str) -> Result<Self, BadHex> {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        let good = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let value = u64::from_str_radix(digits, 16).ok();
        value
            .filter(|_| good && digits.len() <= DIGITS)
            .map(|value| Self {
                value,
                digits: digits.len(),
            })
            .ok_or(BadHex(DIGITS))
    }
}

impl Hex<4> {
    /// It as a PCI id.
    pub fn id(self) -> u16 {
        // CAST: four digits are 16 bits.
        self.value as u16
    }
}

impl Hex<6> {
    /// A class code and the bits of it that count: of 2 digits the class, of 4 also the subclass, of 6 all.
    pub fn class(self) -> (u32, u32) {
        // CAST: six digits are 24 bits.
        let value = self.value as u32;
        match self.digits {
            0..=2 => (value << 16, 0xff_0000),
            3..=4 => (value << 8, 0xff_ff00),
            _ => (value, 0xff_ffff),
        }
    }
}

/// Functions that have these ids; what is not said may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    vendor: Option<Hex<4>>,
    device: Option<Hex<4>>,
    class: Option<Hex<6>>,
}

/// What a function is, as far as filters know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    pub vendor: u16,
    pub device: u16,
    pub class: u32,
}

impl Filter {
    pub fn matches(&self, ids: Ids) -> bool {
        let class = self.class.map(Hex::class);
        self.vendor.is_none_or(|vendor| vendor.id() == ids.vendor)
            && self.device.is_none_or(|device| device.id() == ids.device)
            && class.is_none_or(|(class, mask)| ids.class & mask == class)
    }
}

/// A text that is no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a filter is [VENDOR]:[DEVICE][:CLASS], in hexadecimal digits, and not empty")]
pub struct BadFilter;

impl FromStr for Filter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let mut words = text.split(':').map(|word| match word {
            "" | "*" => None,
            word => Some(word),
        });
        let filter = Self {
            vendor: part(words.next().flatten())?,
            device: part(words.next().ok_or(BadFilter)?)?,
            class: part(words.next().flatten())?,
        };
        // All functions of a machine are never meant.
        if words.next().is_some() || filter == Self::default() {
            return Err(BadFilter);
        }
        Ok(filter)
    }
}

fn part<const DIGITS: usize>(word: Option<&str>) -> Result<Option<Hex<DIGITS>>, BadFilter> {
    word.map(|word| word.parse().map_err(|_| BadFilter))
        .transpose()
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn word<const DIGITS: usize>(part: Option<Hex<DIGITS>>) -> String {
            part.map_or_else(String::new, |part| {
                format!("{:0digits$x}", part.value, digits = part.digits)
            })
        }
        write!(f, "{}:{}", word(self.vendor), word(self.device))?;
        match self.class {
            None => Ok(()),
            class => write!(f, ":{}", word(class)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NVME: Ids = Ids {
        vendor: 0x8086,
        device: 0xf1a5,
        class: 0x01_0802,
    };

    #[test]
    fn filters_are_those_of_lspci() {
        for (text, matches) in [
            ("8086:", true),
            ("8086:f1a5", true),
            ("8086:*", true),
            (":f1a5", true),
            ("::0108", true),
            ("::01", true),
            ("::010802", true),
            ("8086:f1a5:0108", true),
            ("8087:", false),
            ("8086:f1a6", false),
            ("::0106", false),
            ("::010803", false),
            ("8086:f1a5:02", false),
        ] {
            let filter: Filter = text.parse().expect(text);
            assert_eq!(filter.matches(NVME), matches, "{text}");
            assert_eq!(filter.to_string(), text.replace('*', ""), "{text}");
        }
        for bad in [
            "",
            ":",
            "::",
            "*:*",
            "8086",
            "8086:f1a5:0108:1",
            "80866:",
            ":x",
            "+1:",
        ] {
            assert_eq!(bad.parse::<Filter>(), Err(BadFilter), "{bad}");
        }
    }

    #[test]
    fn digits_say_how_much_of_a_class_counts() {
        let class = |word: &str| word.parse::<Hex<6>>().map(Hex::class);
        assert_eq!(class("01"), Ok((0x01_0000, 0xff_0000)));
        assert_eq!(class("0108"), Ok((0x01_0800, 0xff_ff00)));
        assert_eq!(class("0x010802"), Ok((0x01_0802, 0xff_ffff)));
        assert_eq!(class("0108021"), Err(BadHex(6)));
        assert_eq!(class(""), Err(BadHex(6)));
    }
}

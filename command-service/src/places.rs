//! Where an address is, as a local file in the MaxMind DB format says. Nobody is asked over the network: an address
//! is personal data.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::{MaxMindDbError, Reader, path};

/// No city has a longer name; more is a broken file.
const LONGEST_CITY: usize = 200;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("GeoIP file {}: {cause}", path.display())]
pub struct PlacesError {
    path: PathBuf,
    cause: MaxMindDbError,
}

/// The whole file in memory, or nothing.
pub struct Places(Option<Reader<Vec<u8>>>);

/// What is known of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// ISO 3166-1 alpha-2.
    pub country_code: Option<String>,
    /// In English.
    pub city: Option<String>,
}

impl Places {
    pub fn open(file: Option<&Path>) -> Result<Self, PlacesError> {
        let open = |file: &Path| {
            Reader::open_readfile(file).map_err(|cause| PlacesError {
                path: file.to_owned(),
                cause,
            })
        };
        file.map(open).transpose().map(Self)
    }

    /// What is not in the file, or not readable there, is not known.
    pub fn locate(&self, address: Option<IpAddr>) -> Located {
        let (Some(reader), Some(address)) = (&self.0, address) else {
            return Located::default();
        };
        let Ok(found) = reader.lookup(address) else {
            return Located::default();
        };
        let country: Option<&str> = found.decode_path(&path!["country", "iso_code"]).ok().flatten();
        let city: Option<&str> = found.decode_path(&path!["city", "names", "en"]).ok().flatten();
        Located {
            country_code: country.filter(|code| is_country_code(code)).map(str::to_owned),
            city: city.filter(|name| name.len() <= LONGEST_CITY).map(str::to_owned),
        }
    }
}

/// The column has room for no other.
fn is_country_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/places.mmdb");
        Places::open(Some(&file)).unwrap()
    }

    fn located(places: &Places, address: &str) -> (Option<String>, Option<String>) {
        let found = places.locate(address.parse().ok());
        (found.country_code, found.city)
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn an_address_is_where_the_file_says() {
        let places = places();
        assert_eq!(located(&places, "192.0.2.7"), (some("DE"), some("Berlin")));
        assert_eq!(
            located(&places, "198.51.100.7"),
            (some("NO"), some("Troms\u{f8}"))
        );
        assert_eq!(located(&places, "2001:db8::7"), (some("JP"), None));
    }

    #[test]
    fn what_the_file_does_not_tell_or_tells_wrong_is_not_known() {
        let places = places();
        for nowhere in ["127.0.0.1", "10.0.0.1", "::1", "203.0.113.7"] {
            assert_eq!(located(&places, nowhere), (None, None), "{nowhere}");
        }
        assert_eq!(places.locate(None), Located::default());
        let none = Places::open(None).unwrap();
        assert_eq!(located(&none, "192.0.2.7"), (None, None));
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        for file in [file!(), "nowhere.mmdb"] {
            let error = Places::open(Some(Path::new(file))).err().unwrap().to_string();
            assert!(error.contains(file), "{error}");
        }
    }
}

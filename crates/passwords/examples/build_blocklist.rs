//! Makes the filter of known passwords: `build_blocklist OUT LEAST:FILE...`. Of each file, one password a line, those of
//! at least LEAST characters are taken. The same lists give the same bytes.

use std::error::Error;
use std::fs;

use xorf::{BinaryFuse16, DmaSerializable};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("build_blocklist OUT LEAST:FILE...")?;
    let mut keys = Vec::new();
    for list in arguments {
        let (least, path) = list.split_once(':').ok_or("a list is LEAST:FILE")?;
        let least: usize = least.parse()?;
        let text = fs::read(path)?;
        let lines = text.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
        let long = lines.filter(|line| line.chars().count() >= least);
        keys.extend(long.map(|line| passwords::blocklist::key(line.trim_end_matches('\r'))));
    }
    keys.sort_unstable();
    keys.dedup();
    let filter = BinaryFuse16::try_from(&keys)?;
    let mut bytes = vec![0; BinaryFuse16::DESCRIPTOR_LEN];
    filter.dma_copy_descriptor_to(&mut bytes);
    bytes.extend_from_slice(filter.dma_fingerprints());
    fs::write(&out, &bytes)?;
    println!("{} passwords, {} bytes", keys.len(), bytes.len());
    Ok(())
}

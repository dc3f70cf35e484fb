//! The memory that argon2 fills.

use std::mem::MaybeUninit;

use argon2::Block;

/// Kept from one password to the next: to ask the kernel for 19 MiB and to zero it costs a tenth of a hash.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    pub(crate) fn of(&mut self, blocks: usize) -> &mut [Block] {
        // Whoever asked for much more before, which is rare, does not leave it here for ever.
        let is_far_too_large = self.0.len() > blocks.saturating_mul(4);
        if self.0.len() < blocks || is_far_too_large {
            // Nothing in it is needed any more: what is too small is given back, not moved.
            self.0 = Vec::new();
            self.0.reserve_exact(blocks);
            prefer_large_pages(self.0.spare_capacity_mut());
            self.0.resize(blocks, Block::default());
        }
        self.0.get_mut(..blocks).unwrap_or_default()
    }
}

/// argon2 reads its memory at random places, and most of these miss the processor's table of small pages: with large ones
/// a hash is up to a tenth quicker. A wish only: where the kernel has none, nothing changes.
#[expect(unsafe_code, reason = "a hint to the kernel, which no safe function gives")]
fn prefer_large_pages(memory: &mut [MaybeUninit<Block>]) {
    let size = size_of_val(memory);
    // SAFETY: a constant of the system is asked for.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    let start = memory.as_mut_ptr().cast::<u8>();
    // The kernel takes whole pages only, and the hint does no harm to what else is in the first.
    let before = start.addr().checked_rem(page).unwrap_or(0);
    // SAFETY: the hint changes no content and no mapping; addresses that are not mapped are an error.
    unsafe {
        libc::madvise(
            start.wrapping_sub(before).cast(),
            before + size,
            libc::MADV_HUGEPAGE,
        )
    };
}

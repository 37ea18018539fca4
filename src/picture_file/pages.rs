//! Pages of a TIFF.

use std::io::{BufRead, Seek};
use tiff::decoder::Decoder;
use tiff::tags::Tag;

/// Whether a TIFF has a page behind its first that is a picture of its own. No other file has.
pub(super) fn holds_several(bytes: impl BufRead + Seek) -> bool {
    /// Bits of a page's kind: a smaller copy of another page, or a mask for one.
    const COPY_OR_MASK: u32 = 0b101;
    /// Pages looked at: what is damaged may lead round in a circle.
    const PAGES: usize = 32;
    let Ok(mut file) = Decoder::new(bytes) else { return false };
    let first = file.ifd_pointer().and_then(|at| file.read_directory(at).ok());
    let mut next = first.and_then(|page| page.next());
    for _ in 1..PAGES {
        let Some(page) = next.and_then(|at| file.read_directory(at).ok()) else { return false };
        let kind = file.read_directory_tags(&page).find_tag_unsigned::<u32>(Tag::NewSubfileType);
        if kind.ok().flatten().unwrap_or(0) & COPY_OR_MASK == 0 {
            return true;
        }
        next = page.next();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn a_tiff_whose_pages_lead_nowhere_or_round_in_a_circle_is_its_first_page() {
        let entries: [[u16; 4]; 8] = [
            [256, 3, 1, 4],
            [257, 3, 1, 2],
            [258, 3, 1, 8],
            [259, 3, 1, 1],
            [262, 3, 1, 1],
            [273, 3, 1, 8 + 2 + 8 * 12 + 4],
            [278, 3, 1, 2],
            [279, 3, 1, 8],
        ];
        let file = |next: u32| {
            let mut file = b"MM\0*\0\0\0\x08\0\x08".to_vec();
            for [tag, kind, count, value] in entries {
                file.extend([tag, kind, 0, count, value, 0].map(u16::to_be_bytes).concat());
            }
            [file, next.to_be_bytes().to_vec(), vec![7; 8]].concat()
        };
        assert!(!holds_several(Cursor::new(file(0))));
        assert!(!holds_several(Cursor::new(file(1 << 31))), "past the file's end");
        assert!(!holds_several(Cursor::new(file(8))), "round in a circle");
        let first = file(0).len() as u32;
        let twice = [&file(first)[..], &file(0)[8..]].concat();
        assert!(holds_several(Cursor::new(twice)), "where it leads to a second one, it is told");
    }
}

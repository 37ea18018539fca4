use image::{Rgb, RgbImage};

/// Pixels of one dot of a letter.
const DOT: u32 = 2;
/// Pixels from one letter to the next.
pub(super) const ADVANCE: u32 = 4 * DOT;
/// Height of a letter in pixels.
pub(super) const HEIGHT: u32 = 5 * DOT;

/// Letters of 3 × 5 dots, top line first, three bits a line.
const LETTERS: &[(char, u16)] = &[
    ('0', 0o75557),
    ('1', 0o26227),
    ('2', 0o71747),
    ('3', 0o71717),
    ('4', 0o55711),
    ('5', 0o74717),
    ('6', 0o74757),
    ('7', 0o71122),
    ('8', 0o75757),
    ('9', 0o75717),
    ('.', 0o00002),
    ('-', 0o00700),
    ('%', 0o51245),
    ('/', 0o11244),
    (':', 0o02020),
    ('a', 0o25755),
    ('b', 0o65656),
    ('c', 0o34443),
    ('d', 0o65556),
    ('e', 0o74647),
    ('f', 0o74644),
    ('g', 0o34553),
    ('h', 0o55755),
    ('i', 0o72227),
    ('j', 0o11152),
    ('k', 0o55655),
    ('l', 0o44447),
    ('m', 0o57755),
    ('n', 0o65555),
    ('o', 0o25552),
    ('p', 0o65644),
    ('q', 0o25563),
    ('r', 0o65655),
    ('s', 0o34216),
    ('t', 0o72222),
    ('u', 0o55557),
    ('v', 0o55552),
    ('w', 0o55775),
    ('x', 0o55255),
    ('y', 0o55222),
    ('z', 0o71247),
];

/// Writes a line of text with its upper left corner at `at`; letters have one case.
pub(super) fn write(picture: &mut RgbImage, at: (u32, u32), text: &str, colour: Rgb<u8>) {
    for (n, letter) in text.to_lowercase().chars().enumerate() {
        let dots = LETTERS.iter().find(|(l, _)| *l == letter).map_or(0, |(_, dots)| *dots);
        for (bit, (row, column)) in (0..5).flat_map(|row| (0..3).map(move |column| (row, column))).enumerate() {
            if dots >> (14 - bit) & 1 == 1 {
                let corner = (at.0 + n as u32 * ADVANCE + column * DOT, at.1 + row * DOT);
                for (dx, dy) in (0..DOT).flat_map(|dx| (0..DOT).map(move |dy| (dx, dy))) {
                    if let Some(pixel) = picture.get_pixel_mut_checked(corner.0 + dx, corner.1 + dy) {
                        *pixel = colour;
                    }
                }
            }
        }
    }
}

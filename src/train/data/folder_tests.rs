use super::*;
use crate::train::{HeldBack, SplitPlan};
use image::{GrayImage, ImageBuffer, Luma};

pub(super) fn save(root: &Path, part: &str, name: &str, image: &GrayImage) {
    std::fs::create_dir_all(root.join(part)).unwrap();
    image.save(root.join(part).join(name)).unwrap();
}

pub(super) fn open(root: &Path, seed: u64, share: f64) -> Result<Folder, TrainError> {
    Folder::open(root, &SplitPlan::share(share, seed), Sampling::Balanced)
}

pub(super) fn folder_of(pictures: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..pictures {
        let name = format!("cell{i}.png");
        save(dir.path(), "images", &name, &GrayImage::from_fn(8, 6, |x, _| Luma([if x < 2 { 0 } else { 100 + i as u8 }])));
        // In every second mask a crack, and beside it what half of white does not reach.
        let mask = |x, y| {
            if i % 2 == 1 {
                0
            } else if (x, y) == (4, 3) {
                200
            } else {
                90
            }
        };
        save(dir.path(), "masks", &name, &GrayImage::from_fn(8, 6, |x, y| Luma([mask(x, y)])));
    }
    dir
}

#[test]
fn pictures_come_with_outline_and_thresholded_mask() {
    let dir = folder_of(2);
    let folder = open(dir.path(), 1, 0.5).unwrap();
    let picture = if folder.training[0].crack_px > 0 { folder.training(0) } else { folder.validation(0) }.unwrap();
    assert_eq!((picture.width_px, picture.height_px, picture.truth.count()), (8, 6, 1));
    assert!(picture.truth.get(4, 3) && picture.spans.iter().all(|s| (s.start, s.end) == (2, 8)));
    assert_eq!(picture.pixels[2], 100 * 257);
}

#[test]
fn sixteen_bit_pictures_keep_their_depth() {
    let dir = folder_of(2);
    for i in 0..2u16 {
        ImageBuffer::from_fn(8, 6, |x, _| Luma([if x == 0 { 1 + i } else { 12_345u16 }]))
            .save(dir.path().join(format!("images/cell{i}.png")))
            .unwrap();
    }
    assert_eq!(open(dir.path(), 1, 0.5).unwrap().training(1).unwrap().pixels[9], 12_345);
}

#[test]
fn tiff_pictures_and_masks_of_sixteen_bit_are_read() {
    let dir = folder_of(1);
    let save = |part: &str, value: &dyn Fn(u32) -> u16| {
        let path = dir.path().join(part).join("deep.tiff");
        ImageBuffer::from_fn(8, 6, |x, _| Luma([value(x)])).save(path).unwrap();
    };
    save("images", &|x| 40_000 + x as u16);
    // Half of white is 32767.5.
    save("masks", &|x| if x == 4 { 32_768 } else { 32_767 });
    let folder = open(dir.path(), 1, 0.5).unwrap();
    let all = [folder.training(0).unwrap(), folder.validation(0).unwrap()];
    let deep = all.iter().find(|picture| picture.name == "deep").unwrap();
    assert_eq!(deep.pixels[..8], [40_000, 40_001, 40_002, 40_003, 40_004, 40_005, 40_006, 40_007]);
    assert_eq!(deep.crack_pixels(), (0..6).map(|y| (4, y)).collect::<Vec<_>>());

    for (class, said) in [(1, "is 1 of 65535"), (255, "is 255 of 65535")] {
        save("masks", &|x| if x == 4 { class } else { 0 });
        let refused = open(dir.path(), 1, 0.5).unwrap_err().to_string();
        assert!(refused.contains("deep.tiff") && refused.contains(said) && refused.contains("class numbers"), "{refused}");
    }
}

#[test]
fn the_digest_tells_changed_data() {
    let dir = folder_of(3);
    let digest = || open(dir.path(), 1, 0.3).unwrap().digest().unwrap();
    let before = digest();
    assert_eq!(before, digest());
    save(dir.path(), "masks", "cell1.png", &GrayImage::from_pixel(8, 6, Luma([255])));
    assert_ne!(before, digest());
}

#[test]
fn faults_name_their_file_and_the_remedy() {
    let fault = |spoil: &dyn Fn(&Path)| {
        let dir = folder_of(3);
        spoil(dir.path());
        open(dir.path(), 1, 0.3).unwrap_err().to_string()
    };
    let missing = fault(&|root| std::fs::remove_file(root.join("masks/cell1.png")).unwrap());
    assert!(missing.contains("cell1.png") && missing.contains("no mask"), "{missing}");
    let size = fault(&|root| save(root, "masks", "cell2.png", &GrayImage::new(9, 6)));
    assert!(size.contains("cell2.png") && size.contains("9x6") && size.contains("8x6"), "{size}");
    let unreadable = fault(&|root| std::fs::write(root.join("images/cell0.png"), b"no picture").unwrap());
    assert!(unreadable.contains("cell0.png") && unreadable.contains("PNG"), "{unreadable}");
    let empty = fault(&|root| (0..3).for_each(|i| save(root, "masks", &format!("cell{i}.png"), &GrayImage::new(8, 6))));
    assert!(empty.contains("every mask is empty"), "{empty}");
    let nowhere = open(Path::new("/nonexistent/data"), 1, 0.3).unwrap_err().to_string();
    assert!(nowhere.contains("/nonexistent/data/images") && nowhere.contains("masks/"), "{nowhere}");
}

#[test]
fn all_faults_are_told_together() {
    let dir = folder_of(4);
    std::fs::remove_file(dir.path().join("masks/cell1.png")).unwrap();
    let whole = std::fs::read(dir.path().join("images/cell3.png")).unwrap();
    std::fs::write(dir.path().join("images/cell3.png"), &whole[..whole.len() - 20]).unwrap();
    let said = open(dir.path(), 1, 0.3).unwrap_err().to_string();
    assert!(said.contains("2 files") && said.contains("cell1.png") && said.contains("cell3.png"), "{said}");
}

#[test]
fn a_jpeg_that_is_cut_off_is_told_because_decoders_fill_it_with_grey() {
    let dir = folder_of(3);
    let mask = GrayImage::from_fn(64, 64, |x, y| Luma([if x == y { 255 } else { 0 }]));
    save(dir.path(), "images", "photo.jpg", &mask);
    save(dir.path(), "masks", "photo.jpg", &mask);
    assert_eq!(open(dir.path(), 1, 0.3).map(|_| ()).map_err(|e| e.to_string()), Ok(()));
    let path = dir.path().join("masks/photo.jpg");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() * 3 / 4]).unwrap();
    let said = open(dir.path(), 1, 0.3).unwrap_err().to_string();
    assert!(said.contains("masks/photo.jpg") && said.contains("cut off"), "{said}");
}

#[test]
fn pictures_and_masks_are_turned_as_their_exif_says() {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder};
    let dir = folder_of(2);
    // 16 px wide, white in its left half; with orientation 6 viewers show it turned by a quarter clockwise: white above.
    let lying: Vec<u8> = (0..16 * 8).map(|i| if i % 16 < 8 { 255 } else { 20 }).collect();
    let turned = [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[6, 0, 0, 0, 0, 0, 0, 0]].concat();
    for part in ["images", "masks"] {
        let mut file = std::fs::File::create(dir.path().join(part).join("photo.jpg")).unwrap();
        let mut encoder = JpegEncoder::new_with_quality(&mut file, 100);
        encoder.set_exif_metadata(turned.clone()).unwrap();
        encoder.write_image(&lying, 16, 8, ExtendedColorType::L8).unwrap();
    }
    let folder = open(dir.path(), 1, 0.3).unwrap();
    let find = |set| (0..folder.len(set)).map(move |i| (set, i));
    let mut all = find(Set::Training).chain(find(Set::Validation)).map(|(set, i)| folder.picture(set, i).unwrap());
    let photo = all.find(|picture| picture.name == "photo").unwrap();
    assert_eq!((photo.width_px, photo.height_px), (8, 16));
    assert_eq!(photo.crack_pixels(), (0..8).flat_map(|y| (0..8).map(move |x| (x, y))).collect::<Vec<_>>());
    assert!(photo.pixels[..64].iter().all(|grey| *grey > 60_000) && photo.pixels[64..].iter().all(|grey| *grey < 10_000));
}

#[test]
fn a_name_that_no_file_of_a_run_can_hold_is_told() {
    use std::os::unix::ffi::OsStrExt;
    let dir = folder_of(3);
    for part in ["images", "masks"] {
        let name = std::ffi::OsStr::from_bytes(b"zelle-\xe4.png");
        std::fs::copy(dir.path().join(part).join("cell0.png"), dir.path().join(part).join(name)).unwrap();
    }
    let said = open(dir.path(), 1, 0.3).unwrap_err().to_string();
    assert!(said.contains("images/zelle-") && said.contains("not UTF-8; rename it"), "{said}");
}

#[test]
fn a_folder_without_pictures_of_its_own_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("images/lot7")).unwrap();
    std::fs::create_dir_all(dir.path().join("masks/lot7")).unwrap();
    let picture = GrayImage::new(8, 6);
    for part in ["images/lot7", "masks/lot7"] {
        save(dir.path(), part, "cell0.png", &picture);
    }
    let said = open(dir.path(), 1, 0.3).unwrap_err().to_string();
    assert!(said.contains("images: holds no pictures") && said.contains("subfolders are not looked into"), "{said}");
}

#[test]
fn names_may_have_dots_and_extensions_capitals() {
    let dir = folder_of(3);
    let picture = GrayImage::from_fn(8, 6, |x, _| Luma([if x == 4 { 255 } else { 0 }]));
    save(dir.path(), "images", "2024.05.01_cell9.png", &picture);
    save(dir.path(), "masks", "2024.05.01_cell9.PNG", &picture);
    let folder = open(dir.path(), 1, 0.3).unwrap();
    let file = dir.path().join("split.csv");
    let with_folders = folder.split_csv().unwrap().lines().map(|line| format!("images/{line}\n")).collect::<String>();
    std::fs::write(&file, with_folders).unwrap();
    let plan = SplitPlan { held_back: HeldBack::File(file), ..SplitPlan::share(0.5, 1) };
    let again = Folder::open(dir.path(), &plan, Sampling::Balanced).unwrap();
    assert_eq!(again.split_csv(), folder.split_csv());
}

#[test]
fn good_cells_alone_can_be_looked_at_but_not_learnt_from() {
    let dir = folder_of(2);
    (0..2).for_each(|i| save(dir.path(), "masks", &format!("cell{i}.png"), &GrayImage::new(8, 6)));
    assert!(open(dir.path(), 1, 0.5).unwrap_err().to_string().contains("every mask is empty"));
    let plan = SplitPlan { held_back: HeldBack::Everything, ..SplitPlan::share(0.5, 0) };
    let folder = Folder::open(dir.path(), &plan, Sampling::Uniform).unwrap();
    assert!(folder.warnings().iter().any(|w| w.contains("only false alarms")), "{:?}", folder.warnings());
}

#[test]
fn masks_in_colours_or_of_class_numbers_are_refused() {
    let dir = folder_of(3);
    let red = image::RgbImage::from_fn(8, 6, |x, _| image::Rgb(if x == 4 { [255, 0, 0] } else { [0, 0, 0] }));
    red.save(dir.path().join("masks/cell0.png")).unwrap();
    let said = open(dir.path(), 1, 0.3).unwrap_err().to_string();
    assert!(said.contains("cell0.png") && said.contains("6 pixels") && said.contains("black and white"), "{said}");
    save(dir.path(), "masks", "cell0.png", &GrayImage::from_fn(8, 6, |x, _| Luma([u8::from(x == 4)])));
    let said = open(dir.path(), 1, 0.3).unwrap_err().to_string();
    assert!(said.contains("cell0.png") && said.contains("class numbers"), "{said}");
}

#[test]
fn masks_that_show_their_crack_where_it_is_not_looked_for_are_refused() {
    let dir = folder_of(3);
    for (brightest, refused) in [(60, true), (127, true), (128, false)] {
        save(dir.path(), "masks", "cell0.png", &GrayImage::from_fn(8, 6, |x, _| Luma([if x == 4 { brightest } else { 0 }])));
        let said = open(dir.path(), 1, 0.3).map(|_| String::new()).unwrap_or_else(|error| error.to_string());
        assert_eq!(
            said.contains("cell0.png") && said.contains(&format!("{brightest} of 255: nothing is brighter than half")),
            refused,
            "{said}"
        );
    }
    for grey in [0, 255] {
        let seen_through = image::GrayAlphaImage::from_fn(8, 6, |x, _| image::LumaA([grey, if x == 4 { 255 } else { 0 }]));
        seen_through.save(dir.path().join("masks/cell0.png")).unwrap();
        let said = open(dir.path(), 1, 0.3).unwrap_err().to_string();
        assert!(said.contains("cell0.png") && said.contains("transparency"), "{said}");
    }
    let drawn = image::GrayAlphaImage::from_fn(8, 6, |x, _| image::LumaA(if x == 4 { [255, 255] } else { [0, 0] }));
    drawn.save(dir.path().join("masks/cell0.png")).unwrap();
    assert!(open(dir.path(), 1, 0.3).is_ok(), "a crack in white on nothing");
}

#[test]
fn masks_the_wrong_way_round_are_told() {
    let dir = folder_of(8);
    let warned =
        || open(dir.path(), 1, 0.3).unwrap().warnings().iter().filter(|w| w.contains("more than half")).cloned().collect::<Vec<_>>();
    assert!(warned().is_empty());
    (0..7).for_each(|i| {
        save(dir.path(), "masks", &format!("cell{i}.png"), &GrayImage::from_fn(8, 6, |x, _| Luma([if x == 4 { 0 } else { 255 }])))
    });
    let told = warned();
    assert!(matches!(told.as_slice(), [one] if one.contains("masks/cell0.png") && one.contains("and 2 more")), "{told:?}");
    let summary = open(dir.path(), 1, 0.3).unwrap().summary().to_string();
    assert!(summary.contains("\"1:0."), "{summary}");
}

#[test]
fn pictures_of_one_name_are_told_apart_by_nobody() {
    let dir = folder_of(3);
    save(dir.path(), "images", "cell1.jpg", &GrayImage::from_pixel(8, 6, Luma([9])));
    let said = open(dir.path(), 1, 0.3).unwrap_err().to_string();
    assert!(said.contains("images/cell1.png: has the name of") && said.contains("images/cell1.jpg"), "{said}");
}

#[test]
fn a_picture_that_is_too_wide_is_told_before_it_is_learnt_from() {
    let dir = folder_of(3);
    for part in ["images", "masks"] {
        save(dir.path(), part, "scan.png", &GrayImage::new(65_536, 1));
    }
    let said = open(dir.path(), 1, 0.3).unwrap_err().to_string();
    assert!(said.contains("images/scan.png: 65536 px wide"), "{said}");
}

#[test]
fn one_class_only_is_refused() {
    let dir = folder_of(2);
    (0..2).for_each(|i| save(dir.path(), "masks", &format!("cell{i}.png"), &GrayImage::from_pixel(8, 6, Luma([255]))));
    assert!(open(dir.path(), 1, 0.5).unwrap_err().to_string().contains("every pixel"));
    save(dir.path(), "masks", "cell0.png", &GrayImage::new(8, 6));
    let path = dir.path().join("split.csv");
    std::fs::write(&path, "cell0,training\ncell1,validation").unwrap();
    let plan = SplitPlan { held_back: HeldBack::File(path), ..SplitPlan::share(0.5, 1) };
    let said = Folder::open(dir.path(), &plan, Sampling::Balanced).unwrap_err().to_string();
    assert!(said.contains("no training picture shows a crack"), "{said}");
}

#[test]
fn ratios_are_told_as_in_the_papers_table() {
    let dir = folder_of(2);
    let summary = open(dir.path(), 1, 0.5).unwrap().summary();
    let parts = [&summary["training"], &summary["validation"]];
    assert!(parts.iter().any(|part| part["crack_to_background"] == "1:47" && part["cracked"] == 1), "{summary}");
}

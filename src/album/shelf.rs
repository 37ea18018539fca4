//! The album's folders.

use super::{AlbumError, Page, picture};
use crate::cell::Mask;
use crate::disk::write_whole;
use crate::review::png;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const UNREVIEWED: &str = "unreviewed";
const IMAGES: &str = "images";
const MASKS: &str = "masks";

/// What a cell's files are called: its time, its lane and its number, so that names in order are in the order of time.
pub(super) fn name(page: &Page) -> Arc<str> {
    let time = jiff::Timestamp::from_nanosecond(page.unix_ns.into()).unwrap_or_default();
    format!("{}_{}_{}", time.strftime("%Y%m%dT%H%M%S%.3fZ"), page.cell.lane, page.cell.number).into()
}

/// Where the picture of that name may lie.
pub(super) fn places(dir: &Path, name: &str) -> [PathBuf; 2] {
    [IMAGES, UNREVIEWED].map(|folder| dir.join(folder).join(format!("{name}.png")))
}

/// The folders, and which pictures wait for their truth.
pub(super) struct Shelf {
    dir: PathBuf,
    /// Names of those that wait, the oldest first.
    unreviewed: VecDeque<Arc<str>>,
    unreviewed_max: usize,
}

impl Shelf {
    pub fn open(dir: &Path, unreviewed_max: usize) -> Result<Self, AlbumError> {
        for folder in [UNREVIEWED, IMAGES, MASKS] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).map_err(AlbumError::file(&folder))?;
        }
        // Tried now rather than with the first cell.
        let probe = dir.join(UNREVIEWED).join(".writable");
        write_whole(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(AlbumError::file(&probe))?;
        let mut shelf = Self { dir: dir.to_owned(), unreviewed: VecDeque::new(), unreviewed_max };
        shelf.unreviewed = shelf.found()?.into();
        shelf.finish_moves()?;
        shelf.make_room()?;
        Ok(shelf)
    }

    /// Writes a picture, then the mask that was found.
    pub fn put(&mut self, name: &Arc<str>, page: &Page) -> Result<(), AlbumError> {
        let [_, path] = places(&self.dir, name);
        let bytes = picture::encode(&page.rows).map_err(AlbumError::picture(&path))?;
        write_whole(&path, &bytes).map_err(AlbumError::file(&path))?;
        if !self.unreviewed.contains(name) {
            self.unreviewed.push_back(name.clone());
        }
        let beside = self.found_mask(name);
        let bytes = png::encode(&page.found).map_err(AlbumError::picture(&beside))?;
        write_whole(&beside, &bytes).map_err(AlbumError::file(&beside))
    }

    /// Writes the truth, then takes the picture to its side.
    pub fn tell(&mut self, name: &str, truth: &Mask) -> Result<(), AlbumError> {
        let mask = self.dir.join(MASKS).join(format!("{name}.png"));
        let bytes = png::encode(truth).map_err(AlbumError::picture(&mask))?;
        let [image, waiting] = places(&self.dir, name);
        if !waiting.exists() && !image.exists() {
            return Ok(()); // it has made room for others
        }
        write_whole(&mask, &bytes).map_err(AlbumError::file(&mask))?;
        self.take_over(name)
    }

    /// Moves a picture whose truth is there.
    fn take_over(&mut self, name: &str) -> Result<(), AlbumError> {
        let [image, waiting] = places(&self.dir, name);
        if waiting.exists() {
            fs::rename(&waiting, &image).map_err(AlbumError::file(&image))?;
        }
        remove(&self.found_mask(name))?;
        self.unreviewed.retain(|other| **other != *name);
        Ok(())
    }

    /// Pictures whose truth was written before the power went.
    fn finish_moves(&mut self) -> Result<(), AlbumError> {
        let told = |name: &&Arc<str>| self.dir.join(MASKS).join(format!("{name}.png")).exists();
        let halfway: Vec<Arc<str>> = self.unreviewed.iter().filter(told).cloned().collect();
        halfway.iter().try_for_each(|name| self.take_over(name))
    }

    /// Removes the oldest that wait, where there are too many.
    pub fn make_room(&mut self) -> Result<(), AlbumError> {
        while self.unreviewed.len() > self.unreviewed_max
            && let Some(oldest) = self.unreviewed.front()
        {
            let [_, picture] = places(&self.dir, oldest);
            remove(&picture)?;
            remove(&self.found_mask(oldest))?;
            self.unreviewed.pop_front();
        }
        Ok(())
    }

    /// Names of the pictures that wait, in order; what a write that was cut off has left is removed.
    fn found(&self) -> Result<Vec<Arc<str>>, AlbumError> {
        let folder = self.dir.join(UNREVIEWED);
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(AlbumError::file(&folder))? {
            let path = entry.map_err(AlbumError::file(&folder))?.path();
            let Some(file) = path.file_name().and_then(|file| file.to_str()) else { continue };
            let is_half = file.starts_with('.') && file.ends_with(".part");
            let found_of = file.strip_suffix(".found.png");
            if is_half || found_of.is_some_and(|name| !places(&self.dir, name)[1].exists()) {
                remove(&path)?;
            } else if found_of.is_none() && !file.starts_with('.') {
                names.extend(file.strip_suffix(".png").map(Arc::from));
            }
        }
        names.sort();
        Ok(names)
    }

    fn found_mask(&self, name: &str) -> PathBuf {
        self.dir.join(UNREVIEWED).join(format!("{name}.found.png"))
    }
}

/// Removes a file; one that somebody else has taken away already is no error.
fn remove(path: &Path) -> Result<(), AlbumError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(AlbumError::file(path)(error)),
        _ => Ok(()),
    }
}

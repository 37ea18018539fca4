use super::Problems;
use serde::de::DeserializeOwned;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a TOML file's text and parses it, reporting an unreadable or malformed file as one problem.
///
/// `f` reads the root table; the unknown keys it leaves are reported after it.
pub fn read_document<T>(file: &Path, f: impl FnOnce(&mut Reader) -> T) -> (Option<T>, Problems) {
    let mut problems = Problems::default();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) => {
            problems.error(file, None, "", format!("cannot be read: {e}"), "give the path of a readable TOML file");
            return (None, problems);
        }
    };
    let table = match DeTable::parse(&text) {
        Ok(table) => table.into_inner(),
        Err(e) => {
            let line = e.span().map(|s| line_of(&text, s.start));
            problems.error(
                file,
                line,
                "",
                format!("is no valid TOML: {}", e.message().trim()),
                "correct the line; strings need quotes, tables [brackets]",
            );
            return (None, problems);
        }
    };
    let mut reader = Reader { file, text: &text, path: String::new(), line: None, table, known: Vec::new(), problems: &mut problems };
    let value = f(&mut reader);
    reader.finish();
    (Some(value), problems)
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

/// One table of a TOML file. Every key that is taken is known; what is left over is an unknown key.
/// Mistakes are noted, never returned, so that all of them come at once.
pub struct Reader<'a, 'p> {
    file: &'a Path,
    text: &'a str,
    path: String,
    line: Option<usize>,
    table: DeTable<'a>,
    known: Vec<&'static str>,
    problems: &'p mut Problems,
}

impl<'a> Reader<'a, '_> {
    /// The whole file, as it was read.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The value of `key`, or `None` where it is missing or wrong (which is noted).
    /// `expected` says in words what the value must be, such as `"a number of millimetres"`.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        let (line, value) = self.take(key)?;
        let found = describe(value.get_ref());
        let is_of_several = matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_));
        match T::deserialize(toml::de::ValueDeserializer::from(value)) {
            Ok(value) => Some(value),
            Err(e) => {
                // One value is told whole; of several, only the parser knows the one that is wrong.
                let what = if is_of_several { format!("is {found}: {}", e.message().trim()) } else { format!("is {found}") };
                self.error_at(Some(line), key, what, format!("give {expected}"));
                None
            }
        }
    }

    /// Like [`optional`](Self::optional), with a value for a missing key.
    pub fn or<T: DeserializeOwned>(&mut self, key: &'static str, expected: &str, default: T) -> T {
        self.optional(key, expected).unwrap_or(default)
    }

    /// Like [`optional`](Self::optional), noting a missing key as a mistake.
    pub fn required<T: DeserializeOwned>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.error_at(self.line, key, "is missing".into(), format!("give {expected}"));
            return None;
        }
        self.optional(key, expected)
    }

    /// A number within `range`, or `default` where it is missing or wrong.
    pub fn number<T>(&mut self, key: &'static str, expected: &str, range: impl RangeBounds<T>, default: T) -> T
    where
        T: DeserializeOwned + PartialOrd + std::fmt::Display,
    {
        self.optional_number(key, expected, range).unwrap_or(default)
    }

    /// A number within `range` where the key is given.
    pub fn optional_number<T>(&mut self, key: &'static str, expected: &str, range: impl RangeBounds<T>) -> Option<T>
    where
        T: DeserializeOwned + PartialOrd + std::fmt::Display,
    {
        let line = self.line_of_key(key);
        let value: T = self.optional(key, expected)?;
        if range.contains(&value) {
            return Some(value);
        }
        self.error_at(line, key, format!("is {value}, which is out of range"), format!("give {expected}"));
        None
    }

    /// A path, relative ones being taken from the folder the file lies in. An empty one is a mistake.
    pub fn optional_path(&mut self, key: &'static str, expected: &str) -> Option<PathBuf> {
        let path = self.optional(key, expected)?;
        self.in_folder(key, path, expected)
    }

    /// Like [`optional_path`](Self::optional_path), noting a missing key as a mistake.
    pub fn required_path(&mut self, key: &'static str, expected: &str) -> Option<PathBuf> {
        let path = self.required(key, expected)?;
        self.in_folder(key, path, expected)
    }

    /// Reads the table `key`; a missing one is read as an empty table.
    pub fn table<T>(&mut self, key: &'static str, f: impl FnOnce(&mut Reader<'a, '_>) -> T) -> T {
        let (line, table) = match self.take(key) {
            None => (self.line, DeTable::new()),
            Some((line, value)) => match value.into_inner() {
                DeValue::Table(table) => (Some(line), table),
                other => {
                    self.error_at(Some(line), key, format!("is {}", describe(&other)), format!("make it a table: [{}]", self.full(key)));
                    (Some(line), DeTable::new())
                }
            },
        };
        let path = self.full(key);
        self.child(path, line, table, f)
    }

    /// Reads each table of the array `[[key]]`; a missing one is an empty array.
    pub fn tables<T>(&mut self, key: &'static str, mut f: impl FnMut(&mut Reader<'a, '_>) -> T) -> Vec<T> {
        let Some((line, value)) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = value.into_inner() else {
            self.error_at(Some(line), key, "is no list of tables".into(), format!("write [[{}]] above each", self.full(key)));
            return Vec::new();
        };
        let mut read = Vec::new();
        for (i, item) in items.into_iter().enumerate() {
            let line = line_of(self.text, item.span().start);
            let path = format!("{}[{i}]", self.full(key));
            match item.into_inner() {
                DeValue::Table(table) => read.push(self.child(path, Some(line), table, &mut f)),
                _ => self.problems.error(self.file, Some(line), path, "is no table", format!("write [[{key}]] above it")),
            }
        }
        read
    }

    /// Whether the table has `key`.
    pub fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(k, _)| k.get_ref() == key)
    }

    /// Whether `key` is a table written with its braces, `key = {}`, rather than under a heading.
    pub fn has_inline_table(&self, key: &str) -> bool {
        let value = self.table.iter().find(|(k, _)| k.get_ref() == key).map(|(_, value)| value);
        value.is_some_and(|value| self.text.as_bytes().get(value.span().start) == Some(&b'{'))
    }

    /// The keys that `read` takes, whatever a file has.
    pub fn keys_of<T>(read: impl FnOnce(&mut Reader<'_, '_>) -> T) -> Vec<&'static str> {
        let (file, problems) = (Path::new(""), &mut Problems::default());
        let mut reader = Reader { file, text: "", path: String::new(), line: None, table: DeTable::new(), known: Vec::new(), problems };
        read(&mut reader);
        reader.known
    }

    /// Whether the table has `key`, which nothing has taken yet.
    pub fn leaves(&self, key: &str) -> bool {
        self.has(key) && !self.known.contains(&key)
    }

    /// Notes as a mistake that the table has `key`, which is none of its own but is known all the same.
    pub fn misplaced(&mut self, key: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.error(key, what, remedy);
        self.known.push(key);
    }

    /// The file being read.
    pub fn file(&self) -> &'a Path {
        self.file
    }

    /// Notes a mistake about `key` that only its meaning shows.
    pub fn error(&mut self, key: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        let line = self.line_of_key(key);
        self.error_at(line, key, what.into(), remedy.into());
    }

    /// Notes something about `key` that is allowed but probably not meant.
    pub fn warning(&mut self, key: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        let (line, path) = (self.line_of_key(key), self.full(key));
        self.problems.warning(self.file, line, path, what, remedy);
    }

    fn in_folder(&mut self, key: &'static str, path: PathBuf, expected: &str) -> Option<PathBuf> {
        if path.as_os_str().is_empty() {
            self.error(key, "is empty", format!("give {expected}"));
            return None;
        }
        Some(self.file.parent().map_or(path.clone(), |folder| folder.join(&path)))
    }

    fn error_at(&mut self, line: Option<usize>, key: &str, what: String, remedy: String) {
        let path = self.full(key);
        self.problems.error(self.file, line, path, what, remedy);
    }

    fn line_of_key(&self, key: &str) -> Option<usize> {
        let found = self.table.iter().find(|(k, _)| k.get_ref() == key);
        found.map(|(k, _)| line_of(self.text, k.span().start)).or(self.line)
    }

    fn take(&mut self, key: &'static str) -> Option<(usize, Spanned<DeValue<'a>>)> {
        self.known.push(key);
        let line = self.line_of_key(key)?;
        let value = self.table.iter().find(|(k, _)| k.get_ref() == key).map(|(_, v)| v.clone())?;
        Some((line, value))
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn child<T>(&mut self, path: String, line: Option<usize>, table: DeTable<'a>, f: impl FnOnce(&mut Reader<'a, '_>) -> T) -> T {
        let mut child = Reader { file: self.file, text: self.text, path, line, table, known: Vec::new(), problems: self.problems };
        let value = f(&mut child);
        child.finish();
        value
    }

    fn finish(&mut self) {
        let unknown: Vec<(String, usize)> = self
            .table
            .iter()
            .filter(|(k, _)| !self.known.iter().any(|known| k.get_ref() == known))
            .map(|(k, _)| (k.get_ref().to_string(), line_of(self.text, k.span().start)))
            .collect();
        for (key, line) in unknown {
            let remedy = match nearest(&key, &self.known) {
                Some(near) => format!("did you mean `{near}`? Otherwise remove it"),
                None => format!("remove it; known here: {}", self.known.join(", ")),
            };
            self.error_at(Some(line), &key, "is no key that Hairline knows".into(), remedy);
        }
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(s) => format!("the text {s:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(b) => format!("`{b}`"),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// The known key that a mistyped one most likely means: within two edits, or a prefix of it.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let best = known.iter().map(|k| (edits(key, k), *k)).min()?;
    let prefix = known.iter().find(|k| k.starts_with(key) || key.starts_with(**k));
    if best.0 <= 2 { Some(best.1) } else { prefix.copied() }
}

fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut now = vec![i];
        for j in 1..=b.len() {
            let swap = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            now.push(swap.min(last[j] + 1).min(now[j - 1] + 1));
        }
        last = now;
    }
    last[b.len()]
}

use std::fmt;
use std::path::{Path, PathBuf};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably not as meant.
    Warning,
    /// It can, and probably as meant; it is told lest it be forgotten.
    Note,
}

/// One mistake: where it is, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line in the file, from 1, where it is known.
    pub line: Option<usize>,
    /// The key, such as `lane[0].camera.id`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// How bad it is.
    pub severity: Severity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {word}: ")?;
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        write!(f, "{}\n    remedy: {}", self.what, self.remedy)
    }
}

/// Everything that is wrong with a configuration, errors and warnings, and what is only noted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes an error.
    pub fn error(&mut self, file: &Path, line: Option<usize>, key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(file, line, key.into(), what.into(), remedy.into(), Severity::Error);
    }

    /// Notes a warning.
    pub fn warning(
        &mut self,
        file: &Path,
        line: Option<usize>,
        key: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(file, line, key.into(), what.into(), remedy.into(), Severity::Warning);
    }

    /// Notes something that is to be told and is no mistake.
    pub fn note(&mut self, file: &Path, line: Option<usize>, key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(file, line, key.into(), what.into(), remedy.into(), Severity::Note);
    }

    fn push(&mut self, file: &Path, line: Option<usize>, key: String, what: String, remedy: String, severity: Severity) {
        self.0.push(Problem { file: file.to_owned(), line, key, what, remedy, severity });
    }

    /// Takes over what another room found.
    pub fn append(&mut self, mut other: Problems) {
        self.0.append(&mut other.0);
    }

    /// All of them, in the order they were found.
    pub fn all(&self) -> &[Problem] {
        &self.0
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|p| p.severity == Severity::Error)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

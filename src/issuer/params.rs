//! Request parameters as they come: names and values, each name at most once (RFC 6749 section 3.1).

use zeroize::Zeroize;

/// Decoded parameters of a query or a form.
#[derive(Default)]
pub struct Params(Vec<(String, String)>);

/// More parameters than any request of the protocol has.
const MAX_PARAMS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    #[error("the parameter `{0}` appears more than once")]
    Repeated(&'static str),
    #[error("the parameter `{0}` is missing")]
    Missing(&'static str),
    #[error("the parameter `{0}` is too long")]
    TooLong(&'static str),
}

impl Params {
    /// Decodes `application/x-www-form-urlencoded` bytes. What is beyond the limit is dropped, and then missing.
    pub fn decode(bytes: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(bytes).take(MAX_PARAMS);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The value of `name`; an empty one counts as absent.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, ParamsError> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            return Err(ParamsError::Repeated(name));
        }
        Ok(first.filter(|value| !value.is_empty()))
    }

    /// Like [`one`](Self::one), with a limit in bytes.
    pub fn short(&self, name: &'static str, max: usize) -> Result<Option<&str>, ParamsError> {
        match self.one(name)? {
            Some(value) if value.len() > max => Err(ParamsError::TooLong(name)),
            value => Ok(value),
        }
    }

    pub fn required(&self, name: &'static str) -> Result<&str, ParamsError> {
        self.one(name)?.ok_or(ParamsError::Missing(name))
    }
}

/// Parameters may hold secrets: erased, and never printed.
impl Drop for Params {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            value.zeroize();
        }
    }
}

impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

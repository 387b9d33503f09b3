//! Reading forms out of pages, as a browser without scripts would fill them in.

/// A form of a page: where it goes and what its inputs hold.
#[derive(Debug, Clone)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The first form of the page whose inputs include `field`.
    #[track_caller]
    pub fn with_field(page: &str, field: &str) -> Self {
        let found = page.split("<form").skip(1).map(Self::read).find(|form| form.value(field).is_some());
        found.unwrap_or_else(|| panic!("no form with the field {field}: {page}"))
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Fills in a field, or adds it.
    pub fn fill(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn read(text: &str) -> Self {
        let text = text.split("</form").next().unwrap_or_default();
        let head = text.split('>').next().unwrap_or_default();
        let fields = text.split("<input").skip(1).filter_map(|input| {
            let tag = input.split('>').next()?;
            Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
        });
        Self { action: attribute(head, "action").unwrap_or_default(), fields: fields.collect() }
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\"")).or_else(|| tag.split_once(&format!("\n{name}=\"")))?;
    let value = rest.split('"').next()?;
    Some(
        value
            .replace("&#x2F;", "/")
            .replace("&#43;", "+")
            .replace("&quot;", "\"")
            .replace("&#34;", "\"")
            .replace("&#38;", "&")
            .replace("&amp;", "&"),
    )
}

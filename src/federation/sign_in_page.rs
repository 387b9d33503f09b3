//! What a partner's page asks for: its forms, read from the HTML as a browser without scripts would.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::identity::PlainPassword;

/// Forms and fields of one page that are looked at.
const MOST_FORMS: usize = 32;
const MOST_FIELDS: usize = 256;

/// A form that is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// As the page has it; empty: the page's own address.
    pub action: String,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub name: String,
    pub value: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hidden,
    /// Something that people type, such as their name.
    Typed,
    Password,
    /// Sent when it is the button that was pressed.
    Button,
    /// Ticked or not, chosen or not: left as it is by not being sent.
    Choice,
}

/// What a page is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It posts an answer to our request.
    Answer {
        response: String,
    },
    SignIn(Form),
    /// It goes on by itself, by a script that presses its button.
    GoesOn(Form),
    /// None that a sign-in by name and password knows.
    Other,
}

/// Tells what the page is for.
pub(super) fn purpose(html: &str) -> Purpose {
    let forms = forms(html);
    let field = |form: &Form, name: &str| form.fields.iter().find(|field| field.name == name).cloned();
    if let Some(response) = forms.iter().find_map(|form| field(form, "SAMLResponse")) {
        return Purpose::Answer { response: response.value };
    }
    let has = |form: &&Form, kind: Kind| form.fields.iter().any(|field| field.kind == kind);
    if let Some(form) = forms.iter().find(|form| has(form, Kind::Password)) {
        return Purpose::SignIn(form.clone());
    }
    let asks = |form: &&Form| has(form, Kind::Typed) || has(form, Kind::Choice);
    match forms.iter().find(|form| has(form, Kind::Hidden) && !asks(form)) {
        Some(form) => Purpose::GoesOn(form.clone()),
        None => Purpose::Other,
    }
}

impl Form {
    /// What is sent when the form is posted by its first button, with `typed` in its first field for a name and its first
    /// one for a password: the body of a form, erased when it is freed.
    pub fn filled(&self, typed: Option<(&str, &PlainPassword)>) -> Zeroizing<String> {
        let (mut name, mut password) = (typed.map(|typed| typed.0), typed.map(|typed| typed.1.expose()));
        let mut button = true;
        let mut sent = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let value = match field.kind {
                Kind::Hidden => Some(field.value.as_str()),
                Kind::Typed => Some(name.take().unwrap_or(&field.value)),
                Kind::Password => Some(password.take().unwrap_or_default()),
                Kind::Button => std::mem::take(&mut button).then_some(field.value.as_str()),
                Kind::Choice => None,
            };
            sent.extend(value.map(|value| (field.name.as_str(), value)));
        }
        form_body(&sent)
    }
}

/// `application/x-www-form-urlencoded`, in one piece of memory: what grew would leave parts of a password behind.
pub(super) fn form_body(fields: &[(&str, &str)]) -> Zeroizing<String> {
    const ENCODED: usize = 3;
    let longest = fields.iter().map(|(name, value)| (name.len() + value.len()) * ENCODED + "=&".len()).sum();
    let mut body = Zeroizing::new(String::with_capacity(longest));
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        body.extend(form_urlencoded::byte_serialize(name.as_bytes()));
        body.push('=');
        body.extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }
    body
}

fn forms(html: &str) -> Vec<Form> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let (mut forms, mut open): (Vec<Form>, bool) = (Vec::new(), false);
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) if tag.name.0 == b"form" => {
                let posted = attribute(&tag, "method").is_some_and(|method| method.eq_ignore_ascii_case("post"));
                open = posted && forms.len() < MOST_FORMS;
                if open {
                    let action = attribute(&tag, "action").unwrap_or_default();
                    forms.push(Form { action: action.trim().to_owned(), fields: Vec::new() });
                }
            }
            Token::EndTag(tag) if tag.name.0 == b"form" => open = false,
            Token::StartTag(tag) if open => {
                let fields = forms.last_mut().map(|form| &mut form.fields);
                if let Some(fields) = fields.filter(|fields| fields.len() < MOST_FIELDS) {
                    fields.extend(field(&tag));
                }
            }
            Token::StartTag(_)
            | Token::EndTag(_)
            | Token::String(_)
            | Token::Comment(_)
            | Token::Doctype(_)
            | Token::Error(_) => {}
        }
    }
    forms
}

fn field(tag: &StartTag<()>) -> Option<Field> {
    let kind_word = attribute(tag, "type").unwrap_or_default().to_ascii_lowercase();
    let kind = match (tag.name.0.as_slice(), kind_word.as_str()) {
        (b"input", "hidden") => Kind::Hidden,
        (b"input", "password") => Kind::Password,
        (b"input", "submit") | (b"button", "" | "submit") => Kind::Button,
        (b"input", "checkbox" | "radio" | "file") | (b"select", _) => Kind::Choice,
        (b"input", "button" | "reset" | "image") | (b"button", _) => return None,
        (b"input" | b"textarea", _) => Kind::Typed,
        _ => return None,
    };
    let name = attribute(tag, "name").filter(|name| !name.is_empty())?;
    Some(Field { name, value: attribute(tag, "value").unwrap_or_default(), kind })
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    tag.attributes.get(name.as_bytes()).map(|value| String::from_utf8_lossy(&value.value.0).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(form: &Form) -> Vec<(String, String)> {
        let password = PlainPassword::new("p&ss".to_owned()).expect("a password");
        read(&form.filled(Some(("canary@example.org", &password))))
    }

    fn read(body: &str) -> Vec<(String, String)> {
        form_urlencoded::parse(body.as_bytes()).into_owned().collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_forms_of_the_usual_servers_are_filled_in() {
        // SimpleSAMLphp.
        let php = "<form action=\"?\" method=\"post\" name=\"f\"><input id=\"username\" type=\"text\" name=\"username\"/>\
                   <input id=\"password\" type=\"password\" name=\"password\"/><button class=\"btn\" id=\"submit_button\">\
                   Login</button><input type=\"hidden\" name=\"AuthState\" value=\"_a1:https://x/?b=1&amp;c=2\"/></form>";
        let Purpose::SignIn(form) = purpose(php) else { panic!("{:?}", purpose(php)) };
        let state = ("AuthState", "_a1:https://x/?b=1&c=2");
        assert_eq!(typed(&form), pairs(&[("username", "canary@example.org"), ("password", "p&ss"), state]));
        // AD FS.
        let adfs = "<form method=\"post\" id=\"loginForm\" autocomplete=\"off\" action=\"/adfs/ls/?SAMLRequest=x&amp;y=1\">\
                    <input id=\"userNameInput\" name=\"UserName\" type=\"email\" value=\"\">\
                    <input id=\"passwordInput\" name=\"Password\" type=\"password\">\
                    <input id=\"kmsiInput\" type=\"checkbox\" name=\"Kmsi\" value=\"true\">\
                    <span id=\"submitButton\" role=\"button\">Sign in</span>\
                    <input id=\"optionForms\" type=\"hidden\" name=\"AuthMethod\" value=\"FormsAuthentication\"></form>";
        let Purpose::SignIn(form) = purpose(adfs) else { panic!("{:?}", purpose(adfs)) };
        assert_eq!(form.action, "/adfs/ls/?SAMLRequest=x&y=1");
        let sent = [("UserName", "canary@example.org"), ("Password", "p&ss"), ("AuthMethod", "FormsAuthentication")];
        assert_eq!(typed(&form), pairs(&sent));
        // Shibboleth: a page that stores something in the browser and goes on, then one that asks.
        let passing = "<script>document.write('<form method=\"post\"><input type=\"password\" name=\"no\">')</script>\
                       <form name=\"form1\" action=\"/idp/profile/SAML2/POST/SSO?execution=e1s1\" method=\"post\">\
                       <input type=\"hidden\" name=\"shib_idp_ls_supported\" value=\"\"/>\
                       <input type=\"submit\" name=\"_eventId_proceed\" value=\"Continue\"/></form>";
        let Purpose::GoesOn(form) = purpose(passing) else { panic!("{:?}", purpose(passing)) };
        assert_eq!(read(&form.filled(None)), pairs(&[("shib_idp_ls_supported", ""), ("_eventId_proceed", "Continue")]));
        let asking = "<form action='?execution=e1s2' method='POST'><input name='j_username' type='text' value=''>\
                      <input type='password' name='j_password'><input type='checkbox' name='donotcache' value='1'>\
                      <button type='submit' name='_eventId_proceed'>Login</button>\
                      <button type='submit' name='_eventId_cancel'>Cancel</button></form>";
        let Purpose::SignIn(form) = purpose(asking) else { panic!("{:?}", purpose(asking)) };
        let sent = [("j_username", "canary@example.org"), ("j_password", "p&ss"), ("_eventId_proceed", "")];
        assert_eq!(typed(&form), pairs(&sent));
    }

    #[test]
    fn a_body_is_written_in_one_piece() {
        let value = "\u{fc}=&+ %\u{1f426}".repeat(50);
        let body = form_body(&[("a b", &value), ("", ""), ("c", "d")]);
        assert_eq!(read(&body), pairs(&[("a b", &value), ("", ""), ("c", "d")]));
        let longest = (3 + value.len() + 1 + 1) * 3 + 6;
        assert!(body.capacity() <= longest, "it never grew: {} of {longest}", body.capacity());
    }

    #[test]
    fn an_answer_is_told_from_what_only_looks_like_one() {
        let answer = "<form method='post' action='https://gateway/federation/acs'>\
                      <input type='hidden' name='SAMLResponse' value='PHhtbC8+'></form>";
        assert_eq!(purpose(answer), Purpose::Answer { response: "PHhtbC8+".to_owned() });
        for other in [
            "",
            "<p>Sorry",
            "<form method=get><input type=password name=p></form>",
            "<!-- <form method=post><input type=password name=p></form> -->",
            "<textarea><form method=post><input type=hidden name=SAMLResponse value=x></textarea>",
            "<form method=post><input name=search></form>",
        ] {
            assert_eq!(purpose(other), Purpose::Other, "{other}");
        }
    }
}

//! Reads the accounts of a domain once and prints them, without their hashes:
//! `replicate CONTROLLER DOMAIN ACCOUNT DISTINGUISHED-NAME-OF-THE-DOMAIN`, the password in `DRSR_PASSWORD`.

use drsr::{Account, Client, Controller, Cursor, Error, Password};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Ok([host, domain, name, context]), Ok(password)) =
        (<[String; 4]>::try_from(arguments), std::env::var("DRSR_PASSWORD"))
    else {
        eprintln!("usage: DRSR_PASSWORD=... replicate CONTROLLER DOMAIN ACCOUNT DC=...");
        std::process::exit(2);
    };
    let account = Account::ntlm(domain, name, Password::new(password));
    if let Err(error) = replicate(&Controller::new(host), &account, context).await {
        eprintln!("{error}\n{}", error.remedy());
        std::process::exit(1);
    }
}

async fn replicate(controller: &Controller, account: &Account, context: String) -> Result<(), Error> {
    let mut client = Client::connect(controller, account).await?;
    let mut pass = client.pass(Cursor::start(context));
    while let Some(page) = pass.next_page().await? {
        for change in &page.accounts {
            println!("{} {:?}", change.name, change.password);
        }
        eprintln!("{} objects, {:?}, {:?}", page.objects, page.continuity, page.cursor);
    }
    client.close().await;
    Ok(())
}

#![forbid(unsafe_code)]
//! One protocol in two versions. A page offers those it speaks: `new WebSocket(url, ["greeting.v2", "greeting.v1"])`.
//! The best that both sides speak is chosen. A client that offers neither is refused with 400.

use wsh::prelude::*;

/// The best first.
const VERSIONS: [&str; 2] = ["greeting.v2", "greeting.v1"];

fn choose(request: &Request, response: &mut Response) -> Result<Handshake> {
    if !request.protocols().any(|it| VERSIONS.contains(&it)) {
        let advice = format!("offer one of the subprotocols {}\n", VERSIONS.join(", "));
        return Ok(Handshake::reject(400, advice));
    }
    response.choose_protocol(request, &VERSIONS)
}

async fn greet(conn: &mut AsyncConn) -> Result {
    while let Some(name) = conn.recv().await {
        // The choice holds for the whole session, in newer code too.
        match conn.protocol() {
            "greeting.v2" => conn.send_json(&[("hello", name.to_string())]).await?,
            _ => conn.send(format!("hello {name}")).await?,
        }
    }
    Ok(())
}

wsh::handler!(async greet, handshake = choose, restarts);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_version_that_both_speak_is_chosen() {
        let server = wsh::test::serve(&WSH_HANDLER);

        let both = server.request("/").protocol("greeting.v1");
        let mut new = both.protocol("greeting.v2").connect();
        let old = server.request("/").protocol("other");
        let mut old = old.protocol("greeting.v1").connect();
        new.send("ann");
        old.send("ben");

        assert_eq!(new.protocol(), "greeting.v2");
        assert_eq!(new.receive().unwrap(), r#"[["hello","ann"]]"#);
        assert_eq!(old.protocol(), "greeting.v1");
        assert_eq!(old.receive().unwrap(), "hello ben");
    }

    #[test]
    fn a_client_that_speaks_no_version_is_told_which_there_are() {
        let server = wsh::test::serve(&WSH_HANDLER);

        let refusal = server.request("/").protocol("greeting.v3").try_connect();

        let refusal = refusal.unwrap_err();
        assert_eq!(refusal.status, 400);
        let advice = b"offer one of the subprotocols greeting.v2, greeting.v1\n";
        assert_eq!(refusal.body, advice);
    }
}

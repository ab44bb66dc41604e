//! Pages for browsers: a list of what is here, and what to do where no front end has been built.

use axum::{
    Router,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, RETRY_AFTER},
    },
    response::{Html, IntoResponse, Response},
    routing::get,
};

/// Nothing on these pages is loaded or run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
/// Where the front ends will be: member app, console, till.
const FRONT_ENDS: [&str; 3] = ["/m", "/admin", "/pos"];

/// The pages.
pub(crate) fn router() -> Router {
    FRONT_ENDS
        .into_iter()
        .fold(Router::new().route("/", get(index)), |router, path| {
            router
                .route(path, get(not_built))
                // The wildcard does not match nothing.
                .route(&format!("{path}/"), get(not_built))
                .route(&format!("{path}/{{*page}}"), get(not_built))
        })
}

async fn index() -> Response {
    page(
        StatusCode::OK,
        "<h1>会卡 Huika</h1>\
         <p>会员与积分系统正在运行。Huika, membership and loyalty, is running.</p>\
         <ul>\
         <li><a href=\"/admin\">/admin</a> 管理后台 · console</li>\
         <li><a href=\"/pos\">/pos</a> 收银台 · till</li>\
         <li><a href=\"/m\">/m</a> 会员端 · member app</li>\
         <li><a href=\"/openapi.json\">/openapi.json</a> 接口文档 · API description</li>\
         <li><a href=\"/healthz\">/healthz</a>, <a href=\"/readyz\">/readyz</a> 健康检查 · health</li>\
         <li><a href=\"/metrics\">/metrics</a> 监控指标 · metrics</li>\
         </ul>",
    )
}

async fn not_built() -> Response {
    let page = page(
        StatusCode::SERVICE_UNAVAILABLE,
        "<h1>页面尚未构建 · This page has not been built</h1>\
         <p>接口可以正常使用。如需页面，请在源码目录运行 <code>make web</code>，然后重新启动。</p>\
         <p>The API works. To get the pages run <code>make web</code> in the source folder and start again.</p>\
         <p><a href=\"/\">返回 · back</a></p>",
    );
    // Whoever asks again by itself should not do so all the time.
    ([(RETRY_AFTER, "3600")], page).into_response()
}

fn page(status: StatusCode, body: &'static str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"zh-CN\"><head><meta charset=\"utf-8\"><title>会卡 Huika</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <style>body{{font:1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>\
         </head><body><main>{body}</main></body></html>"
    );
    (
        status,
        [(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")],
        Html(html),
    )
        .into_response()
}

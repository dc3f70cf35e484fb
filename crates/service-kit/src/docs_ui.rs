//! The API's description: `/openapi.json`, and `/docs` to browse it.

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

/// The page is embedded in the binary and loads nothing from elsewhere.
pub fn docs_router<S: Clone + Send + Sync + 'static>(api: OpenApi) -> Router<S> {
    SwaggerUi::new("/docs").url("/openapi.json", api).into()
}

#[cfg(test)]
mod tests {
    use utoipa::OpenApi as _;

    use super::*;
    use crate::at_least::{Empty, WrittenBody};
    use crate::problem::ProblemDetails;
    use crate::testing::get;

    #[derive(utoipa::OpenApi)]
    #[openapi(info(title = "Test"), components(schemas(ProblemDetails, WrittenBody<Empty>)))]
    struct Api;

    #[tokio::test]
    async fn the_description_and_its_page_are_served() {
        let router: Router = docs_router(Api::openapi());
        let answer = get(router.clone(), "/openapi.json").await;
        assert_eq!(answer.body["info"]["title"], "Test");
        assert!(answer.body["components"]["schemas"]["ProblemDetails"].is_object());
        let page = get(router, "/docs/").await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("swagger-ui"));
    }
}

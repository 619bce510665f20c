// Shows this service's own description; keys that a person enters are forgotten when the page is left.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null });

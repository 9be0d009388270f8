// The tokens stay with the backend, which signs people in.
export default { backend: "/sign-in" };

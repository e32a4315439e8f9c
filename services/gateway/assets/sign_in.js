// Signs in and out by the same API that every client uses.
"use strict";

const form = document.getElementById("sign-in");
const problem = document.getElementById("problem");

// Where to go then: only within this site.
function next() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  if (!URL.canParse(wanted, location.origin)) return "/";
  const target = new URL(wanted, location.origin);
  return target.origin === location.origin ? target.pathname + target.search : "/";
}

function reason(answer, body) {
  if (answer.status === 429) return "Too many attempts. Wait a moment.";
  if (answer.status >= 500) return "Sign-in is not available at the moment.";
  const texts = Object.values(body).flat().filter((text) => typeof text === "string");
  return texts.join(" ") || "That did not work.";
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  problem.hidden = true;
  try {
    const answer = await fetch("/api/auth/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ username: form.username.value, password: form.password.value }),
    });
    if (answer.ok) return location.assign(next());
    problem.textContent = reason(answer, await answer.json().catch(() => ({})));
  } catch {
    problem.textContent = "The server does not answer.";
  }
  problem.hidden = false;
  button.disabled = false;
  form.password.select();
});

document.getElementById("sign-out")?.addEventListener("click", async () => {
  const token = document.cookie.match(/(?:^|; )csrftoken=([^;]*)/)?.[1] ?? "";
  await fetch("/api/auth/logout", { method: "POST", headers: { "X-CSRFToken": token } });
  location.assign("/sign-in");
});

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from apps.blog import markdown, selectors, services
from apps.blog.forms import CommentForm, PostForm, SearchForm
from apps.blog.models import Comment, Post, Tag
from apps.blog.pagination import Cursor, Page


@require_safe
def post_list(request: HttpRequest) -> HttpResponse:
    return render(request, "blog/list.html", _page_context(_page(request)) | {"search_form": SearchForm()})


@require_safe
def tag(request: HttpRequest, slug: str) -> HttpResponse:
    tag = get_object_or_404(selectors.visible_tags(request.user.pk), slug=slug)
    return render(request, "blog/tag.html", _page_context(_page(request, tag)) | {"tag": tag})


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    text = form.cleaned_data["q"] if form.is_valid() else ""
    result = selectors.search(text) if text else None
    context = {"search_form": form, "text": text, "result": result, "limit": selectors.HITS_SHOWN}
    return render(request, "blog/search.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def post(request: HttpRequest, slug: str) -> HttpResponse:
    """A post with its comments; a POST adds one."""
    posts = selectors.visible_posts(request.user.pk).defer("content")
    post = get_object_or_404(posts.prefetch_related("tags").annotate(comment_count=Count("comments")), slug=slug)
    form = CommentForm(_posted(request))
    if request.method == "POST":
        if not request.user.is_authenticated:
            return redirect_to_login(request.path)
        if post.status == Post.Status.DRAFT:
            raise PermissionDenied
        if form.is_valid():
            with deleted_meanwhile_is_404():
                comment = services.add_comment(post=post, author_id=_user_id(request), **form.cleaned_data)
            return redirect(f"{post.get_absolute_url()}#comment-{comment.pk}")
    comments = selectors.newest_comments(post)
    selectors.attach_profiles([post], comments)
    context = {"post": post, "comments": comments, "form": form, "may_edit": _may_edit(request, post)}
    return render(request, "blog/post.html", context)


@contextmanager
def deleted_meanwhile_is_404() -> Iterator[None]:
    try:
        yield
    except Post.DoesNotExist as error:
        raise Http404("Somebody has just deleted this post.") from error


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def write(request: HttpRequest) -> HttpResponse:
    form = PostForm(_posted(request))
    if _to_be_saved(request, form):
        return _saved(request, services.create_post(author_id=_user_id(request), **form.cleaned_data))
    return _form_page(request, form)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, slug: str) -> HttpResponse:
    post = get_object_or_404(selectors.visible_posts(request.user.pk), slug=slug)
    if not _may_edit(request, post):
        raise PermissionDenied
    form = PostForm(_posted(request), instance=post)
    if _to_be_saved(request, form):
        with deleted_meanwhile_is_404():
            services.update_post(post=post, **form.cleaned_data)
        return _saved(request, post)
    return _form_page(request, form)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, slug: str) -> HttpResponse:
    posts = selectors.visible_posts(request.user.pk).annotate(comment_count=Count("comments"))
    post = get_object_or_404(posts, slug=slug)
    _check_own(request, post)
    if request.method == "POST":
        services.delete_post(post=post)
        messages.success(request, f"“{post.title}” has been deleted.")
        return redirect("blog:mine")
    return render(request, "blog/confirm_delete.html", {"post": post, "cancel_url": post.get_absolute_url()})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete_comment(request: HttpRequest, slug: str, comment_id: int) -> HttpResponse:
    post = get_object_or_404(selectors.visible_posts(request.user.pk), slug=slug)
    comment = get_object_or_404(post.comments, pk=comment_id)
    _check_own(request, comment)
    comments_url = f"{post.get_absolute_url()}#comments"
    if request.method == "POST":
        services.delete_comment(comment=comment)
        messages.success(request, "Your comment has been deleted.")
        return redirect(comments_url)
    return render(request, "blog/confirm_delete.html", {"comment": comment, "cancel_url": comments_url})


@login_required
@require_safe
def mine(request: HttpRequest) -> HttpResponse:
    return render(request, "blog/mine.html", {"posts": selectors.posts_by(_user_id(request))})


def _page(request: HttpRequest, tag: Tag | None = None) -> Page:
    """The page that ?before= or ?after= asks for. Raises Http404 for a cursor that is garbage, and for both at once."""
    before, after = _cursor(request, "before"), _cursor(request, "after")
    if before and after:
        raise Http404("A page lies before one post or after one, not both.")
    return selectors.list_posts(before=before, after=after, tag=tag)


def _cursor(request: HttpRequest, name: str) -> Cursor | None:
    try:
        return Cursor.parse(request.GET[name]) if name in request.GET else None
    except ValueError as error:
        raise Http404(str(error)) from error


def _page_context(page: Page) -> dict[str, Any]:
    return {
        "posts": page.posts,
        "newer_url": f"?after={page.newer}" if page.newer else None,
        "older_url": f"?before={page.older}" if page.older else None,
    }


def _user_id(request: HttpRequest) -> int:
    """The id of the person who is logged in, in a view that has made sure of one."""
    return cast(int, request.user.pk)


def _posted(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _to_be_saved(request: HttpRequest, form: PostForm) -> bool:
    return form.is_valid() and "preview" not in request.POST


def _form_page(request: HttpRequest, form: PostForm) -> HttpResponse:
    preview = markdown.render(form.cleaned_data["content"]) if form.is_valid() else None
    return render(request, "blog/write.html", {"form": form, "post": form.instance, "preview": preview})


def _saved(request: HttpRequest, post: Post) -> HttpResponse:
    own = post.author_id == request.user.pk
    messages.success(
        request, "Your draft has been saved." if post.status == Post.Status.DRAFT else "The post is published."
    )
    return redirect(post if own or post.status == Post.Status.PUBLISHED else reverse("blog:list"))


def _may_edit(request: HttpRequest, post: Post) -> bool:
    user = request.user
    return post.author_id == user.pk or (user.is_staff and user.has_perm("blog.change_post"))


def _check_own(request: HttpRequest, item: Post | Comment) -> None:
    if item.author_id != request.user.pk:
        raise PermissionDenied
